"""A trained model at one of its levels of theory."""

from __future__ import annotations

from typing import Generic, TypeVar

from tlpot.graph import Layout
from tlpot.models.trained import TrainedModel

M = TypeVar("M", bound=TrainedModel)


class LevelView(Generic[M]):
    """What `TrainedModel.at` returns: an energy model that shares the weights.

    Attributes:
        potential: the whole model.
        level: canonical name.
    """

    def __init__(self, potential: M, level: str) -> None:
        self.potential, self.level = potential, level

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å."""
        return self.potential.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model knows."""
        return self.potential.elements

    @property
    def uses_charge(self) -> bool:
        """Whether the energy depends on total charge and multiplicity."""
        return self.potential.uses_charge

    @property
    def layout(self) -> Layout:
        """How the pairs should be laid out."""
        return self.potential.layout
