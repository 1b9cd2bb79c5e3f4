"""Spherical harmonics and radial basis of edge vectors, differentiable twice."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlpot.kernels.build import library
from tlpot.kernels.pointers import (
    NO_THIRD,
    EmbeddingData,
    EmbeddingTables,
    index32,
    last_derivative,
    pointer,
)

_VALUES, _GRADIENT, _DUAL = range(3)


class EmbeddingPlan:
    """Which functions of an edge vector are wanted.

    Args:
        harmonics: [n_harmonics, n_monomials], polynomials of the unit vector up to degree 3.
        cutoff: Å.
        n_basis: number of Bessel functions.
        power: of the envelope.
    """

    def __init__(
        self, harmonics: NDArray[np.float64], cutoff: float, n_basis: int, power: int
    ) -> None:
        self._arguments = (harmonics, cutoff, n_basis, power)
        self.n_harmonics, self.n_basis = len(harmonics), n_basis
        places = np.nonzero(harmonics)
        self._entries = index32(np.stack(places, axis=1))
        self._values = torch.from_numpy(harmonics[places])
        self._tables = EmbeddingTables(
            *(n_basis, power, len(harmonics), len(self._values), cutoff),
            *(self._entries.data_ptr(), self._values.data_ptr()),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> EmbeddingPlan:
        return self  # never changes

    def __reduce__(self) -> tuple[Any, ...]:
        return EmbeddingPlan, self._arguments

    def run(self, vectors: Tensor, task: int, dtype: torch.dtype, **tensors: Tensor) -> None:
        """Runs the kernel for results in `dtype`; `tensors` are the fields of EmbeddingData."""
        data = EmbeddingData(len(vectors), torch.get_num_threads(), vectors.data_ptr())
        for name, tensor in tensors.items():
            setattr(data, name, pointer(tensor))
        kernel = library(dtype).tlpot_embed
        kernel(ctypes.byref(self._tables), ctypes.byref(data), task)

    def outputs(self, vectors: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Makes room for harmonics and radial functions."""
        n_edges = len(vectors)
        return (
            vectors.new_empty((n_edges, self.n_harmonics), dtype=dtype),
            vectors.new_empty((n_edges, self.n_basis), dtype=dtype),
        )


def embed(plan: EmbeddingPlan, vectors: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Evaluates harmonics and radial functions.

    Args:
        plan: the functions.
        vectors: [n_edges, 3], Å.
        dtype: of the results; the work is done in float64.

    Returns:
        [n_edges, n_harmonics] and [n_edges, n_basis]; the latter is zero, with its derivatives,
        from the cutoff on.
    """
    harmonics, radial = _Embed.apply(plan, vectors.double().contiguous(), dtype)
    return harmonics, radial


class _Embed(torch.autograd.Function):
    """Tensors come contiguous: a copy made inside could not be differentiated again."""

    @staticmethod
    def forward(
        ctx: Any, plan: EmbeddingPlan, vectors: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        ctx.plan = plan
        ctx.save_for_backward(vectors)
        harmonics, radial = plan.outputs(vectors, dtype)
        plan.run(vectors, _VALUES, dtype, harmonics=harmonics, radial=radial)
        return harmonics, radial

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        tensors = (*ctx.saved_tensors, *(g.contiguous() for g in grads))
        return None, _EmbedGradient.apply(ctx.plan, *tensors), None


class _EmbedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: EmbeddingPlan, *tensors: Tensor) -> Tensor:
        vectors, by_harmonics, by_radial = tensors
        ctx.plan = plan
        ctx.save_for_backward(vectors, by_harmonics, by_radial)
        gradient = torch.empty_like(vectors)
        plan.run(
            vectors, _GRADIENT, by_radial.dtype, grad_vectors=gradient,
            grad_harmonics=by_harmonics, grad_radial=by_radial,
        )  # fmt: skip
        return gradient

    @staticmethod
    @last_derivative(NO_THIRD)
    def backward(ctx: Any, direction: Tensor) -> tuple[Any, ...]:
        vectors, by_harmonics, by_radial = ctx.saved_tensors
        gradient, along = torch.empty_like(vectors), direction.contiguous()
        harmonics, radial = ctx.plan.outputs(vectors, by_radial.dtype)
        ctx.plan.run(
            vectors, _DUAL, by_radial.dtype, d_vectors=along, grad_vectors=gradient,
            grad_harmonics=by_harmonics, grad_radial=by_radial,
            harmonics=harmonics, radial=radial,
        )  # fmt: skip
        return None, gradient, harmonics, radial
