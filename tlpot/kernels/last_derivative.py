"""The end of the chain of derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

NO_THIRD = (
    "the compiled kernels have first and second derivatives; for higher ones load the model with "
    "kernels='torch'"
)


def pull_back(output: Tensor, source: Tensor, weights: Tensor) -> Tensor:
    """Returns the gradient of Σ output · weights with respect to `source`.

    As ``torch.autograd.grad(output, source, weights)``, which however imports all of sympy.
    """
    with torch.enable_grad():
        total = torch.dot(output.reshape(-1), weights.reshape(-1))
    return torch.autograd.grad(total, source)[0]


def last_derivative(message: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Marks a backward whose results cannot be differentiated again.

    Unlike ``once_differentiable`` of torch, which drops terms without a word when the derivative
    is taken by ``torch.autograd.grad``, whoever tries gets an error.

    Args:
        message: of the RuntimeError.
    """

    def mark(backward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(backward)
        def wrapped(ctx: Any, *grads: Tensor | None) -> Any:
            with torch.no_grad():
                results = backward(ctx, *grads)
            if not torch.is_grad_enabled():
                return results
            sources = [t for t in (*grads, *ctx.saved_tensors) if t is not None and t.requires_grad]
            if not sources:
                return results
            tensors = [r for r in results if isinstance(r, Tensor)]
            guarded = iter(_Refusal.apply(message, len(tensors), *tensors, *sources))
            return tuple(next(guarded) if isinstance(r, Tensor) else r for r in results)

        return wrapped

    return mark


class _Refusal(torch.autograd.Function):
    """The identity on the first tensors; they depend on all others, but not differentiably."""

    @staticmethod
    def forward(ctx: Any, message: str, n: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.message = message
        return tuple(t.clone() for t in tensors[:n])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError(ctx.message)
