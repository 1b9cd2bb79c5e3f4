"""An exponential moving average of the weights: smoother and better than the last step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """θ̄ ← d θ̄ + (1 − d) θ over the weights that move, with d rising to `decay`.

    Early on d = (1 + n) / (10 + n), so that the first, bad weights are soon forgotten.

    Args:
        model: whose weights to average; those that are fixed are left out.
        decay: final d; 0 for no averaging.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.decay = decay
        self.n_updates = 0
        self.averages = {n: p.detach().clone() for n, p in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the present weights."""
        self.n_updates += 1
        decay = min(self.decay, self.n_updates / (9 + self.n_updates))
        torch._foreach_lerp_(
            list(self.averages.values()), list(self._weights.values()), 1.0 - decay
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the averages in place of the weights for a while."""
        kept = {n: p.detach().clone() for n, p in self._weights.items()}
        self._set(self.averages)
        try:
            yield
        finally:
            self._set(kept)

    def apply(self) -> None:
        """Puts the averages in place of the weights for good."""
        self._set(self.averages)

    @torch.no_grad()
    def _set(self, values: dict[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])
