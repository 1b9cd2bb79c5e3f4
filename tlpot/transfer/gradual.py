"""Fine-tuning that unfreezes from the top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tlpot.errors import ConfigError
from tlpot.models import Potential, parameter_blocks
from tlpot.transfer.blocks import depth
from tlpot.transfer.defaults import SMALL_RATE, StrategyDefaults
from tlpot.transfer.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class Gradual(Strategy):
    """The readout moves first, then layer after layer (Howard and Ruder, doi:10.18653/v1/P18-1031).

    Attributes:
        until: share of the training after which everything moves.
    """

    name: ClassVar[str] = "gradual"
    summary: ClassVar[str] = "weights unfrozen from the readout to the input, fine-tuned from"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE

    until: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.until < 1:
            raise ConfigError(f"until is {self.until}, expected 0 < until < 1")

    def release(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Returns equal stages, one for each layer and one for the embedding."""
        n_layers = potential.architecture.n_layers
        stage = self.until / (n_layers + 1)
        blocks = parameter_blocks(potential, level)
        return {n: stage * depth(b, n_layers) for b, names in blocks.items() for n in names}
