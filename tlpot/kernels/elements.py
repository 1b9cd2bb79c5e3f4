"""Sums S_i^{m,zk} = Σ_{j of element z} a_ij^m b_ij^k, differentiable as often as wanted."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tlpot.kernels.build import library
from tlpot.kernels.convolution import EdgeLists
from tlpot.kernels.parts import ONLY_ONCE, edge_parts
from tlpot.kernels.pointers import ElementData, ElementTables, last_derivative, pull_back


def sum_by_element(
    edges: EdgeLists, species: Tensor, n_elements: int, left: Tensor, right: Tensor
) -> Tensor:
    """Sums products of two vectors over the neighbours, apart for each element of these.

    Args:
        edges: who is whose neighbour.
        species: index of each atom's element, [n_atoms].
        n_elements: number of elements.
        left: a, [n_edges, m].
        right: b, [n_edges, k].

    Returns:
        S, [n_atoms, m, n_elements · k].
    """
    plan = _Plan(edges=edges, species=species.contiguous(), n_elements=n_elements)
    sums: Tensor = _Sum.apply(plan, left.contiguous(), right.contiguous())
    return sums


def sum_by_element_in_parts(
    edges: EdgeLists,
    species: Tensor,
    n_elements: int,
    left: Tensor,
    radial: Tensor,
    network: Callable[[Tensor], Tensor],
) -> Tensor:
    """Does what `sum_by_element` does with b = ``network(radial)``, but never holds all of it.

    It is computed part by part, and again for the gradient. No gradient goes to the network's
    own parameters.

    Args:
        edges: see `sum_by_element`.
        species: see there.
        n_elements: see there.
        left: see there.
        radial: [n_edges, n_basis].
        network: maps the radial basis of some edges to b.
    """
    plan = _Plan(edges=edges, species=species.contiguous(), n_elements=n_elements)
    sums: Tensor = _InParts.apply(plan, network, left.contiguous(), radial.contiguous())
    return sums


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    edges: EdgeLists
    species: Tensor
    n_elements: int

    def call(self, kernel: str, left: Tensor, right: Tensor, **results: Tensor) -> None:
        tables = ElementTables(left.shape[1], right.shape[1], self.n_elements)
        data = ElementData(
            n_atoms=len(self.edges.first) - 1,
            n_edges=len(self.edges.center),
            n_threads=torch.get_num_threads(),
            first=self.edges.first.data_ptr(),
            center=self.edges.center.data_ptr(),
            neighbor=self.edges.neighbor.data_ptr(),
            element=self.species.data_ptr(),
            left=left.data_ptr(),
            right=right.data_ptr(),
            **{name: tensor.data_ptr() for name, tensor in results.items()},
        )
        function = getattr(library(left.dtype), f"tlpot_{kernel}_by_element")
        function(ctypes.byref(tables), ctypes.byref(data))

    def parts(self, left: Tensor, n_right: int) -> Iterator[tuple[slice, slice, _Plan]]:
        """Cuts the atoms: which of them, which edges, and the plan for these."""
        for atoms, rows, part in edge_parts(self.edges, left.shape[1] + n_right, senders=False):
            yield atoms, rows, replace(self, edges=part)


class _Sum(torch.autograd.Function):
    """Tensors come contiguous: a copy made inside could not be differentiated again."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, left: Tensor, right: Tensor) -> Tensor:
        ctx.plan = plan
        ctx.save_for_backward(left, right)
        width = plan.n_elements * right.shape[1]
        sums = left.new_empty((len(plan.edges.first) - 1, left.shape[1], width))
        plan.call("sum", left, right, sums=sums)
        return sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *_SumGradient.apply(ctx.plan, grad.contiguous(), *ctx.saved_tensors))


class _SumGradient(torch.autograd.Function):
    """What sums give back to both vectors: S_i b_ij and S_i a_ij, of the element of j."""

    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, sums: Tensor, left: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.plan = plan
        ctx.save_for_backward(sums, left, right)
        by_left, by_right = torch.empty_like(left), torch.empty_like(right)
        plan.call("spread", left, right, sums=sums, by_left=by_left, by_right=by_right)
        return by_left, by_right

    @staticmethod
    def backward(ctx: Any, d_left: Tensor, d_right: Tensor) -> tuple[Tensor | None, ...]:
        sums, left, right = ctx.saved_tensors
        d_left, d_right = d_left.contiguous(), d_right.contiguous()
        by_sums = None
        if ctx.needs_input_grad[1]:
            by_sums = _Sum.apply(ctx.plan, d_left, right) + _Sum.apply(ctx.plan, left, d_right)
        return (None, by_sums, *_SumGradient.apply(ctx.plan, sums, d_left, d_right))


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, network: Callable[[Tensor], Tensor], left: Tensor, radial: Tensor
    ) -> Tensor:
        ctx.plan, ctx.network = plan, network
        ctx.save_for_backward(left, radial)
        # even without pairs the network says how many values there are
        ctx.n_right = network(radial[:0]).shape[1]
        width = plan.n_elements * ctx.n_right
        sums = left.new_empty((len(plan.edges.first) - 1, left.shape[1], width))
        for atoms, rows, part in plan.parts(left, ctx.n_right):
            part.call("sum", left[rows], network(radial[rows]), sums=sums[atoms])
        return sums

    @staticmethod
    @last_derivative(ONLY_ONCE)
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        left, radial = ctx.saved_tensors
        grad = grad.contiguous()
        by_left, by_radial = torch.empty_like(left), torch.empty_like(radial)
        for atoms, rows, part in ctx.plan.parts(left, ctx.n_right):
            with torch.enable_grad():
                basis = radial[rows].detach().requires_grad_(True)
                right = ctx.network(basis)
            by_right = torch.empty_like(right)
            part.call(
                "spread", left[rows], right, sums=grad[atoms], by_left=by_left[rows],
                by_right=by_right,
            )  # fmt: skip
            by_radial[rows] = pull_back(right, basis, by_right)
        return None, None, by_left, by_radial
