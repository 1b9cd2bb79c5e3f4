"""Training settings that suit a strategy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyDefaults:
    """Training settings that suit a strategy, used where the user sets nothing.

    Attributes:
        learning_rate: peak rate.
        ema: decay of the averaged weights.
        clip: largest gradient norm.
        weight_decay: towards zero, hence 0 when starting from a parent.
    """

    learning_rate: float
    ema: float = 0.99
    clip: float = 10.0
    weight_decay: float = 0.0


# rates of fine-tuning guides are a tenth to a fifth of those from scratch
SMALL_RATE = StrategyDefaults(learning_rate=2e-3)
"""For weights that start at the parent's and all move."""

LARGE_RATE = StrategyDefaults(learning_rate=1e-2)
"""For few weights, or fresh ones."""
