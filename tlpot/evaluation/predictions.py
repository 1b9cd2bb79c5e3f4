"""Predictions of a model for some frames of a dataset, beside their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlpot.data import Dataset, sweep
from tlpot.energy import EnergyModel, evaluate, has_forces


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Labels and predictions, frame by frame and atom by atom; NaN where there is no label.

    What was not evaluated is NaN in both.

    Attributes:
        indices: [n_frames], which frames of the dataset.
        sizes: [n_frames], atoms in each.
        groups: [n_frames], name of the molecule.
        atomic_numbers: [n_atoms], all frames one after the other.
        energy: [n_frames, 2], label and prediction, eV.
        forces: [n_atoms, 3, 2], label and prediction, eV/Å.
        stress: [n_frames, 3, 3, 2], label and prediction, eV/Å³.
    """

    indices: NDArray[np.int64]
    sizes: NDArray[np.int64]
    groups: NDArray[np.str_]
    atomic_numbers: NDArray[np.int64]
    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]


def predict(
    model: EnergyModel,
    dataset: Dataset,
    indices: Sequence[int] | NDArray[np.int64],
    level: str,
    *,
    device: torch.device | str = "cpu",
    forces: bool = True,
    batch_size: int = 32,
    show: bool = False,
) -> Predictions:
    """Evaluates energies, and forces and stresses where they are labelled.

    Args:
        model: an energy model on `device`.
        dataset: the frames.
        indices: which of them.
        level: canonical name of the labels' level of theory.
        device: where the model is.
        forces: whether to evaluate forces and stresses at all; a model that has none leaves
            them NaN.
        batch_size: frames at a time.
        show: whether to show a progress bar.

    Raises:
        DataError: there are no frames, or none has a label at `level`.
        UnknownElementError: a frame has an element that the model does not know.
    """
    forces = forces and has_forces(model)
    chosen = np.asarray(indices, dtype=np.int64)
    # frames of one size together waste nothing on padding
    chosen = chosen[np.argsort(dataset.sizes[chosen], kind="stable")]
    parts: dict[str, list[Tensor]] = {"energy": [], "forces": [], "stress": [], "numbers": []}
    for batch in sweep(
        model, dataset, chosen, (level,), device=device, batch_size=batch_size, show=show
    ):
        targets = batch.targets[level]
        found = evaluate(
            model,
            batch.graph,
            forces=forces and bool(targets.forces.isfinite().any()),
            stress=forces and bool(targets.stress.isfinite().any()),
        )
        parts["energy"].append(_beside(targets.energy, found.energy))
        parts["forces"].append(_beside(targets.forces, found.forces))
        parts["stress"].append(_beside(targets.stress, found.stress))
        parts["numbers"].append(batch.graph.atomic_numbers)
    arrays = {key: torch.cat(tensors).cpu().numpy() for key, tensors in parts.items()}
    names = np.array(dataset.group_names)
    return Predictions(
        indices=chosen,
        sizes=dataset.sizes[chosen],
        groups=names[dataset.group_idx[chosen]],
        atomic_numbers=arrays["numbers"],
        energy=arrays["energy"],
        forces=arrays["forces"],
        stress=arrays["stress"],
    )


def _beside(label: Tensor, prediction: Tensor | None) -> Tensor:
    """Returns label and prediction along a new last axis; NaN for what was not evaluated."""
    if prediction is None:
        label = prediction = torch.full_like(label, torch.nan)
    return torch.stack([label, prediction], dim=-1)
