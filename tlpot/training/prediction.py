"""Predictions of a model for some frames of a dataset, beside their labels."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from tlpot.data import Dataset, Loader
from tlpot.energy import EnergyModel, evaluate


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Labels and predictions, frame by frame and atom by atom; NaN where there is no label.

    Attributes:
        indices: [n_frames], which frames of the dataset.
        sizes: [n_frames], atoms in each.
        groups: [n_frames], name of the molecule.
        atomic_numbers: [n_atoms], all frames one after the other.
        energy: [n_frames, 2], label and prediction, eV.
        forces: [n_atoms, 3, 2], label and prediction, eV/Å.
    """

    indices: NDArray[np.int64]
    sizes: NDArray[np.int64]
    groups: NDArray[np.str_]
    atomic_numbers: NDArray[np.int64]
    energy: NDArray[np.float64]
    forces: NDArray[np.float64]


def predict(
    model: EnergyModel,
    dataset: Dataset,
    indices: Sequence[int] | NDArray[np.int64],
    level: str,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    show: bool = False,
) -> Predictions:
    """Evaluates energies, and forces where they are labelled.

    Args:
        model: an energy model on `device`.
        dataset: the frames.
        indices: which of them.
        level: canonical name of the labels' level of theory.
        device: where the model is.
        batch_size: frames at a time.
        show: whether to show a progress bar.

    Raises:
        DataError: none of the frames has a label at `level`.
        UnknownElementError: a frame has an element that the model does not know.
    """
    chosen = np.asarray(indices, dtype=np.int64)
    # frames of one size together waste nothing on padding
    chosen = chosen[np.argsort(dataset.sizes[chosen], kind="stable")]
    loader = Loader(
        dataset, chosen, levels=(level,), cutoff=model.cutoff, batch_size=batch_size, shuffle=False
    )
    energies, forces, numbers = [], [], []
    for batch in tqdm(loader.batches(0), total=loader.n_batches(0), disable=not show,
                      file=sys.stderr, desc="evaluate", dynamic_ncols=True):  # fmt: skip
        assert batch is not None
        moved = batch.to(device)
        targets = moved.targets[level]
        labelled = bool(targets.forces.isfinite().any())
        found = evaluate(model, moved.graph, forces=labelled)
        predicted = targets.forces * torch.nan if found.forces is None else found.forces
        energies.append(torch.stack([targets.energy, found.energy], dim=-1).cpu().numpy())
        forces.append(torch.stack([targets.forces, predicted], dim=-1).cpu().numpy())
        numbers.append(moved.graph.atomic_numbers.cpu().numpy())
    names = np.array(dataset.group_names)
    return Predictions(
        indices=chosen,
        sizes=dataset.sizes[chosen],
        groups=names[dataset.group_idx[chosen]],
        atomic_numbers=np.concatenate(numbers),
        energy=np.concatenate(energies),
        forces=np.concatenate(forces),
    )
