"""Fine-tuning of the readout alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from tlpot.models import Potential, parameter_blocks
from tlpot.transfer.context import TransferContext
from tlpot.transfer.defaults import LARGE_RATE, StrategyDefaults
from tlpot.transfer.fresh import with_fresh_blocks
from tlpot.transfer.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class HeadOnly(Strategy):
    """The readout moves and the backbone is fixed: "only regression head" of CGAT transfer.

    The parent's levels stay exactly as good as they were, and are kept.

    Attributes:
        readout: ``inherit`` the source level's, or ``fresh`` weights
            (Hoffmann et al., doi:10.1088/2632-2153/ac9e3b).
    """

    name: ClassVar[str] = "head"
    summary: ClassVar[str] = "readout fine-tuned from"
    defaults: ClassVar[StrategyDefaults | None] = LARGE_RATE
    caution: ClassVar[str] = (
        "only the readout moves, which is usually too little: what a network sees in a "
        "structure depends on the level of theory it was trained on; compare with 'full'"
    )
    keeps_levels: ClassVar[bool] = True

    readout: Literal["inherit", "fresh"] = "inherit"

    @property
    def inherits(self) -> bool:  # type: ignore[override]
        """A fresh readout makes step 0 a new model."""
        return self.readout == "inherit"

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the parent with one more level."""
        grown = super().start(context, references)
        if self.readout == "fresh":
            with_fresh_blocks(grown, context.level, ["readout"], context.seed)
        return grown

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Only the readout moves."""
        return dict.fromkeys(parameter_blocks(potential, level)["readout"], 1.0)
