"""A quadratic penalty that holds weights where they started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class Anchor:
    """strength/2 · Σ_k F_k (θ_k − θ_k⁰)².

    Args:
        model: at the weights θ⁰.
        names: of the weights that are held.
        strength: of the penalty.
        stiffness: F by name of weight, in its shape; None means 1.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Iterable[str],
        strength: float,
        stiffness: Mapping[str, Tensor] | None = None,
    ) -> None:
        weights = dict(model.named_parameters())
        self.names = tuple(names)
        self.start = [weights[name].detach().clone() for name in self.names]
        self.strength = strength
        self.stiffness = None if stiffness is None else [stiffness[name] for name in self.names]

    def __call__(self, model: nn.Module) -> Tensor:
        """Returns the penalty, a scalar."""
        weights = dict(model.named_parameters())
        moved = torch._foreach_sub([weights[name] for name in self.names], self.start)
        squares = torch._foreach_mul(moved, moved)
        if self.stiffness is not None:
            squares = torch._foreach_mul(squares, self.stiffness)
        return 0.5 * self.strength * torch.stack([s.sum() for s in squares]).sum()
