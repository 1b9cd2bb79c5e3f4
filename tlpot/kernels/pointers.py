"""Tensors as the C structures that the kernels read."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tlpot.kernels.build import MAX_DEGREE

_Degrees = ctypes.c_void_p * (MAX_DEGREE + 1)


class ConvolutionTables(ctypes.Structure):
    """See convolution.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_channels", "n_paths", "n_angular")),
        *((name, ctypes.c_int64) for name in ("n_couplings", "n_harmonics")),
        *((name, ctypes.c_void_p) for name in ("paths", "places", "couplings")),
    )


class ConvolutionData(ctypes.Structure):
    """See convolution.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_atoms", "n_nodes", "n_edges", "n_threads")),
        *((name, ctypes.c_void_p) for name in ("first", "neighbor", "center", "into", "order")),
        *((name, ctypes.c_void_p) for name in ("harmonics", "d_harmonics")),
        *((name, ctypes.c_void_p) for name in ("weights", "d_weights")),
        *((name, _Degrees) for name in ("senders", "d_senders", "grad", "out")),
        *((name, ctypes.c_void_p) for name in ("grad_harmonics", "grad_weights")),
        ("grad_senders", _Degrees),
    )


class ProductTables(ctypes.Structure):
    """See product.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_channels", "n_in", "n_out", "n_pairs")),
        *((name, ctypes.c_int64) for name in ("n_terms", "n_elements")),
        *((name, ctypes.c_void_p) for name in ("pairs", "terms")),
    )


class ProductData(ctypes.Structure):
    """See product.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_atoms", "n_threads")),
        *((name, ctypes.c_void_p) for name in ("species", "in_place", "out_place")),
        *((name, ctypes.c_void_p) for name in ("coefficients", "d_coefficients")),
        *((f"{name}", _Degrees) for name in ("inputs", "d_inputs", "grad", "out", "grad_inputs")),
        ("grad_coefficients", ctypes.c_void_p),
    )


class ElementTables(ctypes.Structure):
    """See elements.cpp."""

    _fields_ = tuple((name, ctypes.c_int64) for name in ("n_left", "n_right", "n_elements"))


class ElementData(ctypes.Structure):
    """See elements.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_atoms", "n_edges", "n_threads")),
        *((name, ctypes.c_void_p) for name in ("first", "center", "neighbor", "element")),
        *((name, ctypes.c_void_p) for name in ("left", "right", "sums", "by_left", "by_right")),
    )


class EmbeddingTables(ctypes.Structure):
    """See embedding.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_basis", "power", "n_harmonics", "n_entries")),
        ("cutoff", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("entries", "values")),
    )


class EmbeddingData(ctypes.Structure):
    """See embedding.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_edges", "n_threads")),
        *((name, ctypes.c_void_p) for name in ("vectors", "d_vectors")),
        *((name, ctypes.c_void_p) for name in ("grad_harmonics", "grad_radial")),
        *((name, ctypes.c_void_p) for name in ("harmonics", "radial", "grad_vectors")),
    )


def pointer(tensor: Tensor | None) -> int | None:
    """Returns the address of a contiguous tensor, or None."""
    return None if tensor is None else tensor.data_ptr()


def pointers(tensors: Sequence[Tensor | None]) -> ctypes.Array[ctypes.c_void_p]:
    """Returns the addresses of one tensor for each degree."""
    return _Degrees(*(None if t is None else t.data_ptr() for t in tensors))


def contiguous(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Makes what is not None contiguous."""
    return [None if t is None else t.contiguous() for t in tensors]


def index32(values: object) -> Tensor:
    """Returns an int32 table."""
    return torch.as_tensor(values, dtype=torch.int32, device="cpu").contiguous()


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
