"""Fine-tuning of the readout alone."""

from __future__ import annotations

from collections.abc import Mapping

from tlpot.models import Potential, parameter_blocks
from tlpot.transfer.strategy import Recipe


class Head:
    """The readout starts at the parent's and moves; the backbone is fixed.

    The parent's levels stay exactly as good as they were, and are kept.
    """

    name = "head"
    summary = "readout fine-tuned from"
    uses_weights = True
    keeps_levels = True
    recipe = Recipe(learning_rate=1e-2, ema=0.99, clip=10.0)
    caution = (
        "only the readout moves, which is usually too little: what a network sees in a "
        "structure depends on the level of theory it was trained on; compare with 'full'"
    )

    def start(
        self,
        parent: Potential,
        level: str,
        references: Mapping[int, float],
        *,
        source: str,
        seed: int,
    ) -> Potential:
        """Returns the parent with one more level, whose readout is a copy of the source's."""
        return parent.with_level(level, references, parent=source)

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Only the readout moves."""
        return dict.fromkeys(parameter_blocks(potential, level)["readout"], 1.0)
