"""Fine-tuning of one factor for each channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tlpot.models import Potential
from tlpot.transfer.adapter import adapter_weights, attach, merge
from tlpot.transfer.context import TransferContext
from tlpot.transfer.defaults import LARGE_RATE, StrategyDefaults
from tlpot.transfer.strategy import Strategy


class Gains(nn.Module):
    """W · (1 + g) with a g for each column of a matrix W [n_in, n_out]; g is zero at first."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(weight.shape[1]))

    def forward(self, weight: Tensor) -> Tensor:
        """Returns the matrix in use."""
        return weight * (1.0 + self.gain)


@dataclass(frozen=True, kw_only=True)
class Gain(Strategy):
    """A factor for each output channel of each matrix (Liu et al., (IA)³, arXiv:2205.05638).

    The fewest weights of all strategies that change forces; merged before saving.
    """

    name: ClassVar[str] = "gain"
    summary: ClassVar[str] = "channel gains learned on top of"
    defaults: ClassVar[StrategyDefaults | None] = LARGE_RATE

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the parent with gains of one."""
        potential = super().start(context, references)
        attach(potential, context.level, Gains)
        return potential

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Only the gains move."""
        return dict.fromkeys(adapter_weights(potential), 1.0)

    def finish(self, potential: Potential, context: TransferContext) -> Potential:
        """Returns an ordinary potential."""
        return merge(potential)
