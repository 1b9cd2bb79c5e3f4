"""Errors of a model beside its standard deviations, for some frames of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlpot.data import Dataset, evaluation_batches
from tlpot.energy import has_forces
from tlpot.errors import DataError
from tlpot.evaluation import evaluated
from tlpot.models import UncertainModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Deviations:
    """What a model gets wrong and how sure it was, before any calibration.

    Attributes:
        energy: [n_frames], model − label, eV.
        energy_std: [n_frames], raw standard deviation, eV; positive.
        groups: [n_frames], name of the molecule.
        forces: [n_components], model − label of every labelled force component, eV/Å.
        forces_std: [n_components], raw standard deviations, eV/Å.
        force_frames: [n_components], which of the frames above each belongs to.
    """

    energy: NDArray[np.float64]
    energy_std: NDArray[np.float64]
    groups: NDArray[np.str_]
    forces: NDArray[np.float64]
    forces_std: NDArray[np.float64]
    force_frames: NDArray[np.int64]

    @property
    def scores(self) -> NDArray[np.float64]:
        """|error| / σ of each energy, [n_frames]."""
        return np.abs(self.energy) / self.energy_std

    def force_scores(self, *, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Returns |error| / σ of one force component of each frame that has any, and the frame.

        The component is drawn at random among those with σ > 0 (symmetry may make one certain).
        """
        usable = np.flatnonzero(self.forces_std > 0)
        drawn = np.random.default_rng(seed).permutation(usable)
        frames, first = np.unique(self.force_frames[drawn], return_index=True)
        chosen = drawn[first]
        return np.abs(self.forces[chosen]) / self.forces_std[chosen], frames

    @property
    def n_molecules(self) -> int:
        """Number of different molecules."""
        return len(set(self.groups.tolist()))


def deviations(
    model: UncertainModel,
    dataset: Dataset,
    indices: Sequence[int] | NDArray[np.int64],
    level: str,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    forces_std: bool = False,
    show: bool = False,
) -> Deviations:
    """Evaluates the frames that have an energy at a level, and forces where that costs nothing.

    Args:
        model: knows its uncertainty; on `device`.
        dataset: the frames.
        indices: which of them.
        level: canonical name of the labels' level of theory.
        device: where the model is.
        batch_size: frames at a time.
        forces_std: evaluate the standard deviations of labelled forces even if it costs much.
        show: whether to show a progress bar.

    Raises:
        DataError: no frame has an energy, or for some the model claims to be certain (σ = 0).
        UnknownElementError: a frame has an element that the model does not know.
    """
    derived = has_forces(model)
    chosen = np.asarray(indices, dtype=np.int64)
    chosen = chosen[dataset.labelled(level, "energy")[chosen]]
    if not len(chosen):
        raise DataError(f"{dataset.path}: none of the frames has an energy at {level}")
    chosen = chosen[np.argsort(dataset.sizes[chosen], kind="stable")]
    parts: dict[str, list[Tensor]] = {
        key: [] for key in ("energy", "energy_std", "forces", "std", "frames")
    }
    n_done = 0
    batches = evaluation_batches(
        model, dataset, chosen, (level,), device=device, batch_size=batch_size, show=show
    )
    for batch, found, spread in evaluated(
        model,
        batches,
        forces=lambda batch: derived and bool(batch.targets[level].forces.isfinite().any()),
        std="forces" if forces_std else "energy",
        calibrated=False,
    ):
        assert spread is not None
        targets = batch.targets[level]
        known = targets.forces.isfinite()
        parts["energy"].append(found.energy - targets.energy)
        parts["energy_std"].append(spread.energy_std)
        if found.forces is not None and spread.forces_std is not None:
            parts["forces"].append((found.forces - targets.forces)[known])
            parts["std"].append(spread.forces_std[known])
            owner = n_done + batch.graph.system_idx[:, None].expand_as(known)
            parts["frames"].append(owner[known])
        n_done += len(targets.energy)
    arrays = {key: _array(tensors) for key, tensors in parts.items()}
    if not (arrays["energy_std"] > 0).all():
        certain = chosen[~(arrays["energy_std"] > 0)]
        names = [frame.name for frame in dataset.read(certain[:3].tolist(), (level,))]
        raise DataError(
            f"the model claims to be certain (σ = 0) about {len(certain)} of {len(chosen)} frames, "
            f"such as {', '.join(names)}, which no factor can scale; leave them out (isolated "
            "atoms, perhaps)"
        )
    return Deviations(
        energy=arrays["energy"],
        energy_std=arrays["energy_std"],
        groups=np.array(dataset.group_names)[dataset.group_idx[chosen]],
        forces=arrays["forces"],
        forces_std=arrays["std"],
        force_frames=arrays["frames"].astype(np.int64),
    )


def _array(tensors: list[Tensor]) -> NDArray[np.float64]:
    return torch.cat(tensors).cpu().numpy() if tensors else np.zeros(0)
