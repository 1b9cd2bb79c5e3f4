"""Fine-tuning of everything at a small rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tlpot.transfer.defaults import SMALL_RATE, StrategyDefaults
from tlpot.transfer.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class Full(Strategy):
    """All weights start at the parent's and move.

    The shared backbone leaves the parent's levels behind, so only the new level is kept.
    """

    name: ClassVar[str] = "full"
    summary: ClassVar[str] = "all weights fine-tuned from"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE
