"""Energies and forces of any energy model for a list of structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tlpot.energy import EnergyModel, evaluate, layout_of
from tlpot.graph import build_graph
from tlpot.system import System

_ATOMS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What a model says.

    Attributes:
        energy: [n_systems], eV.
        forces: [n_atoms, 3], eV/Å, all structures one after the other; empty if not asked for.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]


def evaluate_systems(
    model: EnergyModel,
    systems: Sequence[System],
    *,
    device: torch.device | str = "cpu",
    forces: bool = True,
    names: Sequence[str] | None = None,
) -> Evaluation:
    """Evaluates structures in few large batches.

    Args:
        model: an energy model on `device`.
        systems: at least one.
        device: where the model is.
        forces: whether to evaluate forces.
        names: what to call each structure in a message.

    Raises:
        GeometryError: a structure is unusable.
        UnknownElementError: the model does not know an element.
    """
    energies, gradients = [], [np.empty((0, 3))]
    for start, stop in _batches(systems):
        graph = build_graph(
            systems[start:stop],
            model.cutoff,
            layout=layout_of(model),
            names=None if names is None else names[start:stop],
        )
        found = evaluate(model, graph.to(device), forces=forces)
        energies.append(found.energy.cpu().numpy())
        if found.forces is not None:
            gradients.append(found.forces.cpu().numpy())
    return Evaluation(energy=np.concatenate(energies), forces=np.concatenate(gradients))


def _batches(systems: Sequence[System]) -> list[tuple[int, int]]:
    """Ranges of structures of at most `_ATOMS_AT_ONCE` atoms, but of one structure at least."""
    ranges, start, n_atoms = [], 0, 0
    for k, system in enumerate(systems):
        if n_atoms + len(system) > _ATOMS_AT_ONCE and k > start:
            ranges.append((start, k))
            start, n_atoms = k, 0
        n_atoms += len(system)
    return [*ranges, (start, len(systems))]
