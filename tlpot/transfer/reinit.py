"""Fresh last blocks on an inherited body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tlpot.errors import ConfigError
from tlpot.models import Potential, parameter_blocks
from tlpot.transfer.context import TransferContext
from tlpot.transfer.defaults import StrategyDefaults
from tlpot.transfer.fresh import with_fresh_blocks
from tlpot.transfer.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class Reinit(Strategy):
    """The last blocks start anew, the others at the parent's, and all move.

    What the last blocks know may be too special to the old labels (Yamada et al.,
    doi:10.1021/acscentsci.9b00804).

    Attributes:
        last: number of blocks that start anew, counted from the readout.
    """

    name: ClassVar[str] = "reinit"
    summary: ClassVar[str] = "last blocks trained anew, the others fine-tuned from"
    defaults: ClassVar[StrategyDefaults | None] = StrategyDefaults(learning_rate=5e-3)
    inherits: ClassVar[bool] = False

    last: int = 1

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the parent's weights with fresh last blocks.

        Raises:
            ConfigError: there are not that many blocks, or none would be inherited.
        """
        potential = super().start(context, references)
        blocks = list(parameter_blocks(potential, context.level))
        if not 0 < self.last < len(blocks):
            raise ConfigError(
                f"strategy.last is {self.last}, expected 1 to {len(blocks) - 1}; the blocks are "
                f"{', '.join(blocks)}"
            )
        with_fresh_blocks(potential, context.level, blocks[-self.last :], context.seed)
        return potential
