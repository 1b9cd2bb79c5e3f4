"""Fine-tuning with chosen blocks fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tlpot.errors import ConfigError
from tlpot.models import Potential, parameter_blocks
from tlpot.transfer.blocks import chosen_blocks
from tlpot.transfer.defaults import SMALL_RATE, StrategyDefaults
from tlpot.transfer.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class Freeze(Strategy):
    """Chosen blocks stay at the parent's weights, the others move.

    Attributes:
        fixed: names of blocks; ``interaction`` means those of all layers.
    """

    name: ClassVar[str] = "freeze"
    summary: ClassVar[str] = "some blocks fixed, the others fine-tuned from"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE

    fixed: tuple[str, ...] = ("embedding", "interaction")

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """The blocks that are not fixed move at the full rate.

        Raises:
            ConfigError: no such block, or all are fixed.
        """
        blocks = parameter_blocks(potential, level)
        fixed = chosen_blocks(self.fixed, blocks, "strategy.fixed")
        if fixed == set(blocks):
            raise ConfigError("strategy.fixed holds all blocks, so nothing would move; use 'shift'")
        return {n: 1.0 for block, names in blocks.items() if block not in fixed for n in names}
