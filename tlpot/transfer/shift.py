"""New reference energies and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tlpot.transfer.defaults import StrategyDefaults
from tlpot.transfer.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class Shift(Strategy):
    """Only the reference energies change: what every other strategy has to beat."""

    name: ClassVar[str] = "shift"
    summary: ClassVar[str] = "reference energies refitted for"
    defaults: ClassVar[StrategyDefaults | None] = None
    caution: ClassVar[str] = "only reference energies change; forces are those of the parent"
    keeps_levels: ClassVar[bool] = True
