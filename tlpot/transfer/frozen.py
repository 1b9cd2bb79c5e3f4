"""Regressors on frozen features: what these strategies have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from tlpot.models import Potential, check_blocks
from tlpot.transfer.leftover import silence
from tlpot.transfer.recipe import Recipe
from tlpot.transfer.situation import Situation
from tlpot.transfer.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class Frozen(Strategy):
    """No weight moves; `finish` adds a regressor on the parent's features to the new level.

    Attributes:
        blocks: whose features: ``layer 1``, …, ``readout``; left out: scalars of all layers.
        on: ``residual`` corrects the parent's energy; ``total`` replaces its readout, so that
            only its features are used.
    """

    recipe: ClassVar[Recipe | None] = None
    keeps_levels: ClassVar[bool] = True

    blocks: tuple[str, ...] = ()
    on: Literal["residual", "total"] = "residual"

    @property
    def inherits(self) -> bool:  # type: ignore[override]
        """Without the parent's energy step 0 is nothing but reference energies."""
        return self.on == "residual"

    def start(self, situation: Situation, references: Mapping[int, float]) -> Potential:
        """Returns the parent with one more level, whose readout is silent if it is replaced.

        Raises:
            ConfigError: no such block.
        """
        check_blocks(self.blocks, situation.parent.architecture)
        grown = super().start(situation, references)
        if self.on == "total":
            silence(grown, situation.level)
        return grown
