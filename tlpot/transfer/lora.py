"""Fine-tuning of low-rank changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tlpot.config import check_least
from tlpot.errors import ConfigError
from tlpot.models import Potential
from tlpot.transfer.adapter import adapter_weights, attach, merge
from tlpot.transfer.context import TransferContext
from tlpot.transfer.defaults import LARGE_RATE, StrategyDefaults
from tlpot.transfer.strategy import Strategy


class LowRank(nn.Module):
    """W + (α/r) A B for a matrix W [n_in, n_out]; zero at first, because B is.

    Args:
        weight: W.
        rank: r, at most the smaller side of W.
        alpha: α.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rank = min(rank, *weight.shape)
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.randn(weight.shape[0], rank))
        self.up = nn.Parameter(torch.zeros(rank, weight.shape[1]))

    def forward(self, weight: Tensor) -> Tensor:
        """Returns the matrix in use."""
        return weight + self.scale * (self.down @ self.up)


@dataclass(frozen=True, kw_only=True)
class LoRA(Strategy):
    """A low-rank change of each channel-mixing matrix (Hu et al., arXiv:2106.09685).

    Every degree of every layer has matrices of its own, so the network stays equivariant. The
    weights of the product basis and of the species stay fixed. The changes are merged before
    saving: the file is an ordinary potential.

    Attributes:
        rank: r.
        alpha: α; the change is α/r · A B.
    """

    name: ClassVar[str] = "lora"
    summary: ClassVar[str] = "low-rank changes learned on top of"
    defaults: ClassVar[StrategyDefaults | None] = LARGE_RATE

    rank: int = 4
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_least(self, rank=1)
        if not 0 < self.alpha < 1e6:
            raise ConfigError(f"alpha is {self.alpha}, expected a positive number")

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the parent with changes that are zero."""
        potential = super().start(context, references)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            attach(potential, context.level, lambda w: LowRank(w, self.rank, self.alpha))
        return potential

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Only the changes move."""
        return dict.fromkeys(adapter_weights(potential), 1.0)

    def finish(self, potential: Potential, context: TransferContext) -> Potential:
        """Returns an ordinary potential."""
        return merge(potential)
