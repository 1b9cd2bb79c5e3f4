"""Polynomials of an atom's own features, out_o = Σ_t w_t x_i x_j x_k, differentiable twice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tlpot.kernels.calls import (
    NO_THIRD,
    KernelPlan,
    contiguous,
    expect,
    expect_degrees,
    expect_species,
    index32,
    last_derivative,
    number_of_threads,
    pointer,
    pointers,
    run,
)
from tlpot.kernels.structures import ProductData, ProductTables

Term = tuple[tuple[int, ...], int]
"""A monomial, as ascending indices of one to three inputs, and the output that it adds to."""


class ProductPlan(KernelPlan):
    """Which monomial adds to which output, as tables.

    Args:
        terms: all terms, of any order; `order` gives the one in which coefficients are read.
        in_degrees: the inputs are the components of degrees 0 to in_degrees − 1.
        out_degrees: likewise the outputs.
        n_channels: channels.

    Attributes:
        order: the terms as the kernels run through them.

    Raises:
        ValueError: a term names an input or output that there is not.
    """

    def __init__(
        self, terms: Sequence[Term], in_degrees: int, out_degrees: int, n_channels: int
    ) -> None:
        super().__init__(terms, in_degrees, out_degrees, n_channels)
        self.n_channels, self.n_terms = n_channels, len(terms)
        self.in_degrees, self.out_degrees = in_degrees, out_degrees
        one = in_degrees**2
        for monomial, output in terms:
            if not (set(monomial) <= set(range(one)) and 0 <= output < out_degrees**2):
                raise ValueError(f"no input or output of that index: {monomial}, {output}")

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

    @property
    def tables(self) -> tuple[Tensor, Tensor]:
        """Pairs and terms, as the kernels read them; see product.cpp."""
        return self._pairs, self._terms

    def call(self, kernel: str, coefficients: Tensor, data: ProductData) -> None:
        """Runs one kernel in the precision of `coefficients`."""
        tables = ProductTables(
            *self._sizes, len(coefficients), self._pairs.data_ptr(), self._terms.data_ptr()
        )
        run(kernel, coefficients.dtype, tables, data)


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

    Raises:
        ValueError: an input does not fit the plan, or a species the coefficients.
    """
    dtype, n_atoms, n_elements = coefficients.dtype, len(species), len(coefficients)
    shape = (n_elements, plan.n_terms, plan.n_channels)
    coefficients = expect("coefficients", coefficients, dtype, *shape)
    sizes = (plan.in_degrees, n_atoms, plan.n_channels)
    inputs = expect_degrees("features", features, dtype, *sizes)
    species = expect_species(species, n_atoms, n_elements, dtype)
    call = _Call(plan=plan, species=species, n_threads=number_of_threads())
    return list(_Multiply.apply(call, coefficients, *inputs))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    plan: ProductPlan
    species: Tensor
    n_threads: int

    def data(
        self, coefficients: Tensor, features: Sequence[Tensor], grads: Sequence[Tensor] = ()
    ) -> ProductData:
        """Returns what the kernels are given; outputs and directions are for the caller to add."""
        return ProductData(
            n_atoms=len(self.species),
            n_threads=self.n_threads,
            species=self.species.data_ptr(),
            in_place=self.plan.in_place.data_ptr(),
            out_place=self.plan.out_place.data_ptr(),
            coefficients=coefficients.data_ptr(),
            inputs=pointers(features),
            grad=pointers(grads),
        )

    def outputs(self, like: Tensor) -> list[Tensor]:
        """Makes room for the values."""
        n_atoms, c = len(self.species), self.plan.n_channels
        return [like.new_empty((n_atoms, 2 * l + 1, c)) for l in range(self.plan.out_degrees)]

    def gradients(
        self,
        kernel: str,
        data: ProductData,
        coefficients: Tensor,
        features: Sequence[Tensor],
        needed: bool,
    ) -> tuple[Tensor | None, ...]:
        """Runs a kernel that gives gradients: by the coefficients, if needed, and by features."""
        by_features = [torch.empty_like(x) for x in features]
        shape = (self.n_threads, *coefficients.shape)
        parts = coefficients.new_zeros(shape) if needed else None
        data.grad_inputs, data.grad_coefficients = pointers(by_features), pointer(parts)
        self.plan.call(kernel, coefficients, data)
        return None if parts is None else parts.sum(dim=0), *by_features


class _Multiply(torch.autograd.Function):
    """Tensors come contiguous: a copy made inside could not be differentiated again."""

    @staticmethod
    def forward(
        ctx: Any, call: _Call, coefficients: Tensor, *features: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.call = call
        ctx.save_for_backward(coefficients, *features)
        out = call.outputs(features[0])
        data = call.data(coefficients, features)
        data.out = pointers(out)
        call.plan.call("multiply", coefficients, data)
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        tensors = (*ctx.saved_tensors, *(g.contiguous() for g in grads))
        return None, *_MultiplyGradient.apply(ctx.call, ctx.needs_input_grad[1], *tensors)


class _MultiplyGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, needed: bool, *tensors: Tensor) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        ctx.call = call
        ctx.save_for_backward(*tensors)
        coefficients, features, grads = _apart(call.plan, tensors)
        data = call.data(coefficients, features, grads)
        return call.gradients("multiply_backward", data, coefficients, features, needed)

    @staticmethod
    @last_derivative(NO_THIRD)
    def backward(ctx: Any, *directions: Tensor | None) -> tuple[Any, ...]:
        call: _Call = ctx.call
        coefficients, features, grads = _apart(call.plan, ctx.saved_tensors)
        along, *held = contiguous(directions)
        by_grads = call.outputs(features[0])
        data = call.data(coefficients, features, grads)
        data.d_coefficients, data.d_inputs = pointer(along), pointers(held)
        data.out = pointers(by_grads)
        needed = ctx.needs_input_grad[2]
        found = call.gradients("multiply_dual", data, coefficients, features, needed)
        return None, None, *found, *by_grads


def _apart(
    plan: ProductPlan, tensors: Sequence[Tensor]
) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]:
    """Returns coefficients, features and gradients by the values."""
    return tensors[0], tensors[1 : 1 + plan.in_degrees], tensors[1 + plan.in_degrees :]
