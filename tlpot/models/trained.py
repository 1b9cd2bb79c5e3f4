"""What every model that is kept in a file has in common, at one of its levels or all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

from tlpot.energy import EnergyModel
from tlpot.graph import Layout
from tlpot.models.description import ModelCard


class LevelModel(EnergyModel, Protocol):
    """A trained model at one level of theory."""

    @property
    def level(self) -> str:
        """Canonical name."""
        ...


@runtime_checkable
class TrainedModel(Protocol):
    """A torch module with energies at one or more levels of theory."""

    card: ModelCard

    @property
    def levels(self) -> tuple[str, ...]:
        """Canonical names of the levels of theory."""
        ...

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model knows."""
        ...

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    @property
    def kernels(self) -> str:
        """Name of the implementation of the sums, see `tlpot.kernels`."""
        ...

    @property
    def uses_charge(self) -> bool:
        """Whether the energy depends on total charge and multiplicity."""
        ...

    @property
    def layout(self) -> Layout:
        """How the pairs should be laid out."""
        ...

    def at(self, level: str | None = None) -> LevelModel:
        """Returns the energy model of a level; None if there is just one."""
        ...

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Moves or casts, as torch modules do."""
        ...

    def eval(self) -> Self:
        """As torch modules do."""
        ...

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As torch modules do."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[Tensor]:
        """As torch modules do."""
        ...


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
    def implies_charges(self) -> bool:
        """Whether it reads no charges, and was trained on those that follow from the atoms."""
        return not self.uses_charge and self.potential.card.implies_charges

    @property
    def layout(self) -> Layout:
        """How the pairs should be laid out."""
        return self.potential.layout
