"""Polynomials of an atom's own features, out_o = Σ_t w_t x_i x_j x_k, differentiable twice."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tlpot.kernels.build import library
from tlpot.kernels.pointers import (
    NO_THIRD,
    ProductData,
    ProductTables,
    index32,
    last_derivative,
    pointer,
    pointers,
)

Term = tuple[tuple[int, ...], int]
"""A monomial, as ascending indices of one to three inputs, and the output that it adds to."""


class ProductPlan:
    """Which monomial adds to which output, as tables.

    Args:
        terms: all terms, of any order; `order` gives the one in which coefficients are read.
        in_degrees: the inputs are the components of degrees 0 to in_degrees − 1.
        out_degrees: likewise the outputs.
        n_channels: channels.

    Attributes:
        order: the terms as the kernels run through them.
    """

    def __init__(
        self, terms: Sequence[Term], in_degrees: int, out_degrees: int, n_channels: int
    ) -> None:
        self._arguments = (terms, in_degrees, out_degrees, n_channels)
        self.n_channels, self.out_degrees = n_channels, out_degrees
        one = in_degrees**2

        def triple(monomial: tuple[int, ...]) -> tuple[int, int, int]:
            i, j, k = {1: (one, one, *monomial), 2: (*monomial, one), 3: monomial}[len(monomial)]
            return i, j, k

        self.order = sorted(terms, key=lambda term: (triple(term[0]), term[1]))
        rows = [(*triple(monomial), output) for monomial, output in self.order]
        pairs, place = [], 0
        for pair, group in itertools.groupby(rows, key=lambda row: row[:2]):
            pairs.append((*pair, place))
            place += len(list(group))
        pairs.append((one, one, place))
        self._pairs = index32(pairs)
        self._terms = index32([row[2:] for row in rows])
        self.in_place = index32([(l, m) for l in range(in_degrees) for m in range(2 * l + 1)])
        self.out_place = index32([(l, m) for l in range(out_degrees) for m in range(2 * l + 1)])
        self._sizes = (n_channels, one, out_degrees**2, len(pairs) - 1, len(rows))

    def __deepcopy__(self, memo: dict[int, Any]) -> ProductPlan:
        return self  # never changes

    def __reduce__(self) -> tuple[Any, ...]:
        return ProductPlan, self._arguments

    def call(self, kernel: str, coefficients: Tensor, data: ProductData) -> None:
        """Runs one kernel in the precision of `coefficients`."""
        tables = ProductTables(
            *self._sizes, len(coefficients), self._pairs.data_ptr(), self._terms.data_ptr()
        )
        function = getattr(library(coefficients.dtype), f"tlpot_{kernel}")
        function(ctypes.byref(tables), ctypes.byref(data))


def multiply(
    plan: ProductPlan, coefficients: Tensor, species: Tensor, features: Sequence[Tensor]
) -> list[Tensor]:
    """Evaluates the polynomials of each atom and channel.

    Args:
        plan: the terms.
        coefficients: [n_elements, n_terms, n_channels], terms in the order of ``plan.order``.
        species: index of each atom's element, [n_atoms].
        features: [n_atoms, 2l+1, n_channels] by degree.

    Returns:
        [n_atoms, 2l+1, n_channels] by degree.
    """
    tensors = (t.contiguous() for t in (coefficients, *features))
    return list(_Multiply.apply(plan, species, *tensors))


class _Multiply(torch.autograd.Function):
    """Tensors come contiguous: a copy made inside could not be differentiated again."""

    @staticmethod
    def forward(
        ctx: Any, plan: ProductPlan, species: Tensor, coefficients: Tensor, *features: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.plan, ctx.species = plan, species
        ctx.save_for_backward(coefficients, *features)
        out = _outputs(plan, features[0])
        data = _data(plan, species, coefficients, features)
        data.out = pointers(out)
        plan.call("multiply", coefficients, data)
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        plan, needed = ctx.plan, ctx.needs_input_grad[2]
        tensors = (*ctx.saved_tensors, *(g.contiguous() for g in grads))
        found = _MultiplyGradient.apply(plan, ctx.species, needed, *tensors)
        return (None, None, *found)


class _MultiplyGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: ProductPlan, species: Tensor, needed: bool, *tensors: Tensor
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        coefficients, *rest = tensors
        features, grads = rest[: -plan.out_degrees], rest[-plan.out_degrees :]
        ctx.plan, ctx.species = plan, species
        ctx.save_for_backward(coefficients, *features, *grads)
        data = _data(plan, species, coefficients, features)
        data.grad = pointers(grads)
        by_features = [torch.empty_like(x) for x in features]
        data.grad_inputs = pointers(by_features)
        parts = _parts(coefficients) if needed else None
        data.grad_coefficients = pointer(parts)
        plan.call("multiply_backward", coefficients, data)
        return None if parts is None else parts.sum(dim=0), *by_features

    @staticmethod
    @last_derivative(NO_THIRD)
    def backward(ctx: Any, along: Tensor | None, *directions: Tensor | None) -> tuple[Any, ...]:
        plan: ProductPlan = ctx.plan
        coefficients, *rest = ctx.saved_tensors
        features, grads = rest[: -plan.out_degrees], rest[-plan.out_degrees :]
        held = [None if d is None else d.contiguous() for d in directions]
        along = None if along is None else along.contiguous()
        data = _data(plan, ctx.species, coefficients, features)
        data.grad, data.d_inputs = pointers(grads), pointers(held)
        data.d_coefficients = pointer(along)
        by_grads = _outputs(plan, features[0])
        by_features = [torch.empty_like(x) for x in features]
        parts = _parts(coefficients) if ctx.needs_input_grad[3] else None
        data.out, data.grad_inputs = pointers(by_grads), pointers(by_features)
        data.grad_coefficients = pointer(parts)
        plan.call("multiply_dual", coefficients, data)
        by_coefficients = None if parts is None else parts.sum(dim=0)
        return (None, None, None, by_coefficients, *by_features, *by_grads)


def _data(
    plan: ProductPlan, species: Tensor, coefficients: Tensor, features: Sequence[Tensor]
) -> ProductData:
    data = ProductData()
    data.n_atoms, data.n_threads = len(species), torch.get_num_threads()
    data.species = species.data_ptr()
    data.in_place, data.out_place = plan.in_place.data_ptr(), plan.out_place.data_ptr()
    data.coefficients = coefficients.data_ptr()
    data.inputs = pointers(features)
    return data


def _outputs(plan: ProductPlan, like: Tensor) -> list[Tensor]:
    n_atoms = len(like)
    return [like.new_empty((n_atoms, 2 * l + 1, plan.n_channels)) for l in range(plan.out_degrees)]


def _parts(coefficients: Tensor) -> Tensor:
    return coefficients.new_zeros((torch.get_num_threads(), *coefficients.shape))
