"""Constants that follow their module's precision without ever losing digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Constant(nn.Module):
    """A tensor kept in float64 and cast anew whenever the module moves.

    A plain buffer that goes to float32 and back keeps only seven digits; this one does not, so
    a model converted in memory equals one loaded in that precision, bit for bit. It is no part
    of the state dict.
    """

    value: Tensor

    def __init__(self, exact: np.ndarray | Tensor) -> None:
        super().__init__()
        self.exact = torch.as_tensor(exact, dtype=torch.float64)
        self.register_buffer("value", self.exact.to(torch.get_default_dtype()), persistent=False)

    def forward(self) -> Tensor:
        """Returns the tensor in the precision and on the device of its module."""
        return self.value

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self.value = self.exact.to(self.value)
        return self


class DoubleBuffer(nn.Module):
    """A buffer that stays float64 when its module changes precision.

    Args:
        value: what it holds.
        saved: whether it belongs to the model's file.
    """

    value: Tensor

    def __init__(self, value: np.ndarray | Tensor, *, saved: bool = True) -> None:
        super().__init__()
        exact = torch.as_tensor(value, dtype=torch.float64)
        self.register_buffer("value", exact, persistent=saved)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        exact = self.value
        super()._apply(fn, recurse)
        self.value = exact.to(self.value.device)
        return self
