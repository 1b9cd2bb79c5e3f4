"""Linear maps that mix channels and leave components alone, hence are equivariant."""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn


class ChannelLinear(nn.Module):
    """y = x W / √n_in on the last axis, without bias.

    Weights are drawn from a unit normal and the scale stands outside of them, so that one
    learning rate fits layers of every width.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out))
        self.scale = 1.0 / math.sqrt(n_in)

    def matrix(self) -> Tensor:
        """Returns the map as a matrix, [n_in, n_out]."""
        return self.weight * self.scale

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., n_in] to [..., n_out]."""
        return x @ self.matrix()


class ChannelMLP(nn.Module):
    """Linear layers with SiLU between them and no bias: zero goes to zero.

    Args:
        widths: sizes from input to output; two of them make a linear map.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.n_hidden = widths[-2]
        self.layers = nn.ModuleList(ChannelLinear(a, b) for a, b in pairs)

    def hidden(self, x: Tensor) -> Tensor:
        """Maps [..., widths[0]] to what enters the last layer, [..., widths[-2]]."""
        for k in range(len(self.layers) - 1):
            # 1.6765 keeps the second moment of SiLU at one for normal input
            x = nn.functional.silu(self.layers[k](x)) * 1.6765
        return x

    def last(self) -> Tensor:
        """Returns the last layer as a matrix, [widths[-2], widths[-1]]."""
        return cast(ChannelLinear, self.layers[-1]).matrix()

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., widths[0]] to [..., widths[-1]]."""
        return self.layers[-1](self.hidden(x))
