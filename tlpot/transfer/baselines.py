"""What every strategy has to beat: no transfer, and new reference energies alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tlpot.models import Potential
from tlpot.transfer.strategy import Strategy, StrategyDefaults, TransferContext


@dataclass(frozen=True, kw_only=True)
class Scratch(Strategy):
    """The parent's architecture with new weights."""

    name: ClassVar[str] = "scratch"
    summary: ClassVar[str] = "trained from scratch with the architecture of"
    defaults: ClassVar[StrategyDefaults | None] = StrategyDefaults(
        learning_rate=1e-2, weight_decay=5e-7
    )
    caution: ClassVar[str] = "the parent's weights are not used, only its architecture"
    inherits: ClassVar[bool] = False

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns a potential of the parent's shape with random weights."""
        parent = context.parent
        made = Potential.create(
            parent.architecture,
            {context.level: references},
            scale=float(parent.head(context.source).readout.scale),
            seed=context.seed,
            dtype=parent.dtype,
            targets=context.targets,
        )
        target = context.targets.get(context.level)
        if target is not None and target.known is not None:  # step 0 is the line
            made.head(context.level).readout.silence()
        return made.to(parent.device)


@dataclass(frozen=True, kw_only=True)
class Shift(Strategy):
    """Only the reference energies change: what every other strategy has to beat."""

    name: ClassVar[str] = "shift"
    summary: ClassVar[str] = "reference energies refitted for"
    defaults: ClassVar[StrategyDefaults | None] = None
    energy_caution: ClassVar[str] = "only reference energies change; forces are those of the parent"
    keeps_levels: ClassVar[bool] = True
