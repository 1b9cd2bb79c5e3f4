"""Fine-tuning of everything at a small rate."""

from __future__ import annotations

from collections.abc import Mapping

from tlpot.models import Potential, level_parameters
from tlpot.transfer.strategy import Recipe


class Full:
    """All weights start at the parent's and move.

    The shared backbone leaves the parent's levels behind, so only the new level is kept.
    """

    name = "full"
    summary = "all weights fine-tuned from"
    uses_weights = True
    keeps_levels = False
    # rates of fine-tuning guides are a tenth to a fifth of those from scratch
    recipe = Recipe(learning_rate=2e-3, ema=0.99, clip=10.0)
    caution = ""

    def start(
        self,
        parent: Potential,
        level: str,
        references: Mapping[int, float],
        *,
        source: str,
        seed: int,
    ) -> Potential:
        """Returns the parent's weights with the new level as the only one."""
        return parent.with_level(level, references, parent=source).only(level)

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """All weights move at the full rate."""
        return dict.fromkeys(level_parameters(potential, level), 1.0)
