"""Spherical harmonics and radial basis of edge vectors, differentiable twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlpot.kernels.calls import (
    NO_THIRD,
    KernelPlan,
    expect,
    index32,
    last_derivative,
    number_of_threads,
    run,
)
from tlpot.kernels.structures import EmbeddingData, EmbeddingTables
from tlpot.numbers import Floats

_VALUES, _GRADIENT, _DUAL = range(3)
_MOST_HARMONICS, _MOST_MONOMIALS, _MOST_BASIS = 16, 20, 64


class EmbeddingPlan(KernelPlan):
    """Which functions of an edge vector are wanted.

    Args:
        harmonics: [n_harmonics, n_monomials], polynomials of the unit vector up to degree 3.
        cutoff: Å.
        n_basis: number of Bessel functions, at most 64.
        power: of the envelope.

    Raises:
        ValueError: more functions than the kernel has room for.
    """

    def __init__(self, harmonics: Floats, cutoff: float, n_basis: int, power: int) -> None:
        super().__init__(harmonics, cutoff, n_basis, power)
        n_harmonics, n_monomials = harmonics.shape
        for name, number, most in (
            ("harmonics", n_harmonics, _MOST_HARMONICS),
            ("monomials", n_monomials, _MOST_MONOMIALS),
            ("radial functions", n_basis, _MOST_BASIS),
        ):
            if not 0 < number <= most:
                raise ValueError(f"the compiled kernels know 1 to {most} {name}, not {number}")
        self.n_harmonics, self.n_basis = n_harmonics, n_basis
        places = np.nonzero(harmonics)
        self._entries = index32(np.stack(places, axis=1))
        self._values = torch.from_numpy(harmonics[places]).double()
        self.tables = EmbeddingTables(
            *(n_basis, power, n_harmonics, len(self._values), cutoff),
            *(self._entries.data_ptr(), self._values.data_ptr()),
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

    Raises:
        ValueError: the vectors are no such thing, or not on the CPU.
    """
    vectors = expect("vectors", vectors.double(), torch.float64, len(vectors), 3)
    call = _Call(plan=plan, dtype=dtype, n_threads=number_of_threads())
    harmonics, radial = _Embed.apply(call, vectors)
    return harmonics, radial


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    plan: EmbeddingPlan
    dtype: torch.dtype
    n_threads: int

    def run(self, task: int, vectors: Tensor, **tensors: Tensor) -> None:
        """Runs the kernel; `tensors` are the fields of EmbeddingData."""
        addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
        data = EmbeddingData(len(vectors), self.n_threads, vectors.data_ptr(), **addresses)
        run("embed", self.dtype, self.plan.tables, data, task)

    def outputs(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Makes room for harmonics and radial functions."""
        n_edges, dtype = len(vectors), self.dtype
        return (
            vectors.new_empty((n_edges, self.plan.n_harmonics), dtype=dtype),
            vectors.new_empty((n_edges, self.plan.n_basis), dtype=dtype),
        )


class _Embed(torch.autograd.Function):
    """Tensors come contiguous: a copy made inside could not be differentiated again."""

    @staticmethod
    def forward(ctx: Any, call: _Call, vectors: Tensor) -> tuple[Tensor, Tensor]:
        ctx.call = call
        ctx.save_for_backward(vectors)
        harmonics, radial = call.outputs(vectors)
        call.run(_VALUES, vectors, harmonics=harmonics, radial=radial)
        return harmonics, radial

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        tensors = (*ctx.saved_tensors, *(g.contiguous() for g in grads))
        return None, _EmbedGradient.apply(ctx.call, *tensors)


class _EmbedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor) -> Tensor:
        vectors, by_harmonics, by_radial = tensors
        ctx.call = call
        ctx.save_for_backward(vectors, by_harmonics, by_radial)
        gradient = torch.empty_like(vectors)
        grads = {"grad_harmonics": by_harmonics, "grad_radial": by_radial}
        call.run(_GRADIENT, vectors, grad_vectors=gradient, **grads)
        return gradient

    @staticmethod
    @last_derivative(NO_THIRD)
    def backward(ctx: Any, direction: Tensor) -> tuple[Any, ...]:
        vectors, by_harmonics, by_radial = ctx.saved_tensors
        gradient, along = torch.empty_like(vectors), direction.contiguous()
        harmonics, radial = ctx.call.outputs(vectors)
        grads = {"grad_harmonics": by_harmonics, "grad_radial": by_radial}
        results = {"grad_vectors": gradient, "harmonics": harmonics, "radial": radial}
        ctx.call.run(_DUAL, vectors, d_vectors=along, **grads, **results)
        return None, gradient, harmonics, radial
