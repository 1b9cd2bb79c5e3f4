"""Fine-tuning with a rate for each block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tlpot.errors import ConfigError
from tlpot.models import Potential, parameter_blocks
from tlpot.transfer.blocks import chosen_blocks, depth
from tlpot.transfer.defaults import StrategyDefaults
from tlpot.transfer.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class Discriminative(Strategy):
    """Rates fall from the readout to the input (Howard and Ruder, doi:10.18653/v1/P18-1031).

    Attributes:
        decay: factor of the rate from one layer to the one below; the paper has 1/2.6.
        factors: factor of the rate by name of block, in place of what `decay` gives; 0 fixes
            the block.
    """

    name: ClassVar[str] = "discriminative"
    summary: ClassVar[str] = "all weights fine-tuned, at rates that fall towards the input, from"
    defaults: ClassVar[StrategyDefaults | None] = StrategyDefaults(learning_rate=5e-3)

    decay: float = 1 / 2.6
    factors: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise ConfigError(f"decay is {self.decay}, expected 0 < decay <= 1")
        for name, factor in self.factors.items():
            if not 0 <= factor < 1e3:
                raise ConfigError(f"factors: {name} is {factor}, expected 0 or more")

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Returns the factors by name of weight.

        Raises:
            ConfigError: `factors` names a block that does not exist, or fixes everything.
        """
        blocks = parameter_blocks(potential, level)
        n_layers = potential.architecture.n_layers
        by_block = {block: self.decay ** depth(block, n_layers) for block in blocks}
        for name, factor in self.factors.items():
            for block in chosen_blocks([name], blocks, "strategy.factors"):
                by_block[block] = factor
        if not any(by_block.values()):
            raise ConfigError("strategy.factors fixes all blocks; nothing would move")
        return {n: by_block[b] for b, names in blocks.items() for n in names if by_block[b]}
