"""A force field of a structure, from the model of its fragments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlpot.building.labels import Level
from tlpot.building.structures import Target, scheme_of
from tlpot.calculators import FragmentCalculator
from tlpot.models import load


@dataclass(frozen=True, kw_only=True)
class TargetTests:
    """The structures that a force field is tested on, and the levels that it is held against.

    Attributes:
        targets: the structures.
        reference: of the error budget; None for no budget.
        mover: of the reference dynamics; None for none.
    """

    targets: Sequence[Target]
    reference: Level | None
    mover: Level | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Assembly:
    """How a force field is put together.

    Attributes:
        scheme: as in the configuration.
        high: the expensive level.
        low: the cheap level, if the force field has two layers.
        trained_charges: see `FragmentCalculator`.
    """

    scheme: str | Mapping[str, Any]
    high: str
    low: str | None
    trained_charges: bool = False

    def calculator(
        self,
        target: Target,
        model: Path,
        pretrained: Path,
        *,
        device: str | None,
        skin: float = 0.3,
    ) -> FragmentCalculator:
        """Returns the calculator of a structure.

        Args:
            target: the structure.
            model: file of the fragments' model.
            pretrained: the cheap level, where the model does not have it.
            device: see `tlpot.load`.
            skin: see `tlpot.fragments.FragmentForceField`.
        """
        return FragmentCalculator(
            target.frames[0],
            str(model),
            scheme_of(self.scheme),
            level=self.high,
            low=None if self.low is None else str(self.low_file(model, pretrained)),
            low_level=self.low,
            trained_charges=self.trained_charges,
            topology=target.topology,
            device=device,
            skin=skin,
        )

    def low_file(self, model: Path, pretrained: Path) -> Path:
        """Returns the file that has the cheap level: the model itself, if it kept it."""
        return model if self.low in self.levels(model) else pretrained

    @staticmethod
    def levels(model: Path) -> tuple[str, ...]:
        """Returns the levels of theory of a model file."""
        return tuple(load(model, device="cpu").levels)
