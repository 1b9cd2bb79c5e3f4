"""No transfer: the baseline that every strategy has to beat."""

from __future__ import annotations

from collections.abc import Mapping

from tlpot.models import Potential, level_parameters
from tlpot.transfer.strategy import Recipe


class Scratch:
    """The parent's architecture with new weights."""

    name = "scratch"
    summary = "trained from scratch with the architecture of"
    uses_weights = False
    keeps_levels = False
    recipe = Recipe(learning_rate=1e-2, ema=0.99, clip=10.0, weight_decay=5e-7)
    caution = "the parent's weights are not used, only its architecture"

    def start(
        self,
        parent: Potential,
        level: str,
        references: Mapping[int, float],
        *,
        source: str,
        seed: int,
    ) -> Potential:
        """Returns a potential of the parent's shape with random weights."""
        return Potential.create(
            parent.architecture,
            {level: references},
            scale=float(parent.head(source).readout.scale),
            seed=seed,
            dtype=parent.dtype,
        ).to(parent.device)

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """All weights move at the full rate."""
        return dict.fromkeys(level_parameters(potential, level), 1.0)
