"""Fine-tuning of small additions to the matrices of a potential that merge into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tlpot.config import check_least
from tlpot.errors import ConfigError
from tlpot.models import Potential, channel_maps
from tlpot.transfer.strategy import LARGE_RATE, Strategy, StrategyDefaults, TransferContext


def attach(potential: Potential, level: str, make: Callable[[nn.Parameter], nn.Module]) -> None:
    """Lets each channel-mixing matrix of a level go through an adapter, in place.

    A channel-mixing matrix maps features of one degree to features of the same degree, so
    whatever an adapter does to it, the network stays equivariant.

    Args:
        potential: the model.
        level: readouts of other levels are left alone.
        make: gives the adapter of a matrix [n_in, n_out], or of one for each element,
            [n_elements, n_in, n_out]; its ``forward`` maps the matrix to the one in use.
    """
    for module in channel_maps(potential, level):
        weight = module.weight
        parametrize.register_parametrization(module, "weight", make(weight).to(weight))


def merge(potential: Potential) -> Potential:
    """Puts the matrices in use in the place of the originals; returns the same potential."""
    for module in list(potential.modules()):
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return potential


def adapter_weights(potential: Potential) -> list[str]:
    """Lists the names of the adapters' weights."""
    names = [name for name, _ in potential.named_parameters()]
    return [n for n in names if ".parametrizations." in n and not n.endswith(".original")]


class LowRank(nn.Module):
    """W + (α/r) A B for a matrix W [n_in, n_out]; zero at first, because B is.

    Matrices for each element, [n_elements, n_in, n_out], have an A and a B for each element.

    Args:
        weight: W.
        rank: r, at most the smaller side of W.
        alpha: α.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        *elements, n_in, n_out = weight.shape
        rank = min(rank, n_in, n_out)
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.randn(*elements, n_in, rank))
        self.up = nn.Parameter(torch.zeros(*elements, rank, n_out))

    def forward(self, weight: Tensor) -> Tensor:
        """Returns the matrix in use."""
        return weight + self.scale * (self.down @ self.up)


@dataclass(frozen=True, kw_only=True)
class LoRA(Strategy):
    """A low-rank change of each channel-mixing matrix (Hu et al., arXiv:2106.09685).

    Every degree of every layer has matrices of its own, so the network stays equivariant; where
    a network has a matrix for each element, each of these has a change of its own. The
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


class Gains(nn.Module):
    """W · (1 + g) with a g for each column of a matrix W [n_in, n_out]; g is zero at first.

    Matrices for each element, [n_elements, n_in, n_out], have gains for each element.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        one_row = weight.shape[-1:] if weight.ndim == 2 else (len(weight), 1, weight.shape[-1])
        self.gain = nn.Parameter(torch.zeros(one_row))

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
