"""Energies whose gradient is known already, as a differentiable function of positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tlpot.errors import ConfigError
from tlpot.segment import segment_sum

_ONCE = (
    "these energies come with their gradient and can be differentiated once: fragments evaluated "
    "in parts, or by an ASE calculator, have neither Hessian nor training"
)


class BlockEnergies(torch.autograd.Function):
    """Independent molecules one after the other; each energy depends on its own atoms only.

    ``apply(positions, energies, gradient, block_idx, n_blocks)`` returns `energies`, [n_atoms],
    and knows that the derivative of the sum over a block is `gradient`, [n_atoms, 3]. Only sums
    over whole blocks may be differentiated, which is checked.
    """

    @staticmethod
    def forward(
        ctx: Any,
        positions: Tensor,
        energies: Tensor,
        gradient: Tensor,
        block_idx: Tensor,
        n_blocks: int,
    ) -> Tensor:
        """See the class."""
        ctx.save_for_backward(gradient, block_idx)
        ctx.n_blocks = n_blocks
        return energies.clone()

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> Any:
        """See the class.

        Raises:
            ConfigError: a second derivative, or the derivative of a part of a block.
        """
        if torch.is_grad_enabled():
            raise ConfigError(_ONCE)
        gradient, block_idx = ctx.saved_tensors
        ones = torch.ones_like(weight)
        mean = segment_sum(weight, block_idx, ctx.n_blocks)
        mean = (mean / segment_sum(ones, block_idx, ctx.n_blocks)).index_select(0, block_idx)
        if bool(((weight - mean).abs() > 1e-9 * (1.0 + mean.abs())).any()):
            raise ConfigError(
                "only the energy of a whole fragment can be differentiated, not that of an atom"
            )
        return mean[:, None] * gradient, None, None, None, None
