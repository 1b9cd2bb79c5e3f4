"""Fine-tuning with decay towards the parent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tlpot.errors import ConfigError
from tlpot.models import Potential
from tlpot.transfer.anchor import Anchor
from tlpot.transfer.context import TransferContext
from tlpot.transfer.defaults import SMALL_RATE, StrategyDefaults
from tlpot.transfer.strategy import Penalty, Strategy


@dataclass(frozen=True, kw_only=True)
class L2SP(Strategy):
    """Adds strength/2 · Σ (θ − θ_parent)² to the loss (Li et al., arXiv:1802.01483).

    Attributes:
        strength: of the penalty.
    """

    name: ClassVar[str] = "l2sp"
    summary: ClassVar[str] = "all weights fine-tuned, held near those of"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE

    strength: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.strength < 1e12:
            raise ConfigError(f"strength is {self.strength}, expected a positive number; "
                              "without a penalty use strategy 'full'")  # fmt: skip

    def penalty(self, potential: Potential, context: TransferContext) -> Penalty:
        """Returns the penalty; it is 0 at step 0."""
        return Anchor(potential, self.rates(potential, context.level), self.strength)
