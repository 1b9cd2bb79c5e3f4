"""What a training set says about sensible scales of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset
from tlpot.neighbors import neighbor_list

_SAMPLE = 500


def average_neighbors(
    dataset: Dataset, indices: Sequence[int] | NDArray[np.int64], cutoff: float
) -> float:
    """Returns the average number of neighbours within `cutoff` (Å), over at most 500 frames."""
    n_pairs = n_atoms = 0
    for frame in dataset.read(_sample(indices)):
        n_pairs += len(neighbor_list(frame.system, cutoff, frame.name).center)
        n_atoms += len(frame.system)
    return max(n_pairs / n_atoms, 1.0)


def force_scale(
    dataset: Dataset, indices: Sequence[int] | NDArray[np.int64], levels: Sequence[str]
) -> float:
    """Returns the root mean square of the force components, eV/Å; 1 where there are none."""
    frames = dataset.read(_sample(indices))
    labels = [frame.labels[level] for frame in frames for level in levels if level in frame.labels]
    parts = [label.forces.reshape(-1) for label in labels if label.forces is not None]
    values = np.concatenate(parts) if parts else np.zeros(0)
    scale = float(np.sqrt(np.nanmean(values**2))) if np.isfinite(values).any() else 0.0
    return scale or 1.0


def energy_scale(
    dataset: Dataset,
    indices: Sequence[int] | NDArray[np.int64],
    level: str,
    references: Mapping[int, float],
) -> float:
    """Returns a readout scale from energies alone, eV: what an atom adds if atoms differ at random.

    That is the root mean square of (energy − Σ E0) / √n_atoms, at least 1 meV.

    Args:
        dataset: the frames.
        indices: those that have an energy at `level`.
        level: canonical name.
        references: E0 by atomic number, eV.
    """
    rest = [
        (frame.labels[level].energy - sum(references[int(z)] for z in frame.system.atomic_numbers))
        / np.sqrt(len(frame.system))
        for frame in dataset.read(_sample(indices), [level])
    ]
    return max(float(np.sqrt(np.mean(np.square(rest)))), 1e-3)


def _sample(indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    chosen = np.asarray(indices, dtype=np.int64)
    if len(chosen) <= _SAMPLE:
        return chosen
    return np.sort(np.random.default_rng(0).choice(chosen, _SAMPLE, replace=False))
