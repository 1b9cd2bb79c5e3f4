"""An energy model that remembers how far its structures were from its training."""

from __future__ import annotations

import torch
from torch import Tensor

from tlpot.energy import DomainModel, has_forces, layout_of
from tlpot.graph import AtomGraph, Layout


class WatchedModel:
    """A model as it is, which keeps the domains of all that it evaluates.

    Args:
        model: knows what it was trained on.
    """

    def __init__(self, model: DomainModel) -> None:
        self._model = model
        self._found: list[Tensor] = []

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å."""
        return self._model.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model knows."""
        return self._model.elements

    @property
    def uses_charge(self) -> bool:
        """Whether the energy depends on total charge and multiplicity."""
        return self._model.uses_charge

    @property
    def layout(self) -> Layout:
        """How the pairs should be laid out."""
        return layout_of(self._model)

    @property
    def has_forces(self) -> bool:
        """Whether the energy can be differentiated."""
        return has_forces(self._model)

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns the energy of each atom, [n_atoms], eV, float64."""
        energies, inside = self._model.energies_and_domain(graph)
        self._found.append(inside)
        return energies

    def taken(self) -> Tensor:
        """Returns the domains of all structures so far, in order, and forgets them."""
        found, self._found = torch.cat(self._found), []
        return found
