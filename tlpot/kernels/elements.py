"""Sums S_i^{m,zk} = Σ_{j of element z} a_ij^m b_ij^k, differentiable as often as wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tlpot.kernels.calls import expect, expect_species, last_derivative, pull_back, run
from tlpot.kernels.convolution import ONLY_ONCE, EdgeLists, cut, edge_parts
from tlpot.kernels.structures import ElementData, ElementTables


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

    Raises:
        ValueError: an input does not belong to these edges, or a species to these elements.
    """
    plan = _Plan.of(edges, species, n_elements)
    sums: Tensor = _Sum.apply(plan, *plan.expect(left, right))
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

    Raises:
        ValueError: see there.
    """
    plan = _Plan.of(edges, species, n_elements)
    sums: Tensor = _InParts.apply(plan, network, *plan.expect(left, radial))
    return sums


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    edges: EdgeLists
    species: Tensor
    n_elements: int

    @classmethod
    def of(cls, edges: EdgeLists, species: Tensor, n_elements: int) -> _Plan:
        species = expect_species(species, edges.n_nodes, n_elements, edges.dtype)
        return cls(edges=edges, species=species, n_elements=n_elements)

    def expect(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Returns two vectors for each edge in one piece, in the precision of the first."""
        n_edges, dtype = self.edges.n_edges, left.dtype
        left = expect("left", left, dtype, n_edges, left.shape[-1])
        return left, expect("right", right, dtype, n_edges, right.shape[-1])

    def sums(self, left: Tensor, n_right: int) -> Tensor:
        """Makes room for the sums."""
        return left.new_empty((self.edges.n_atoms, left.shape[1], self.n_elements * n_right))

    def call(self, kernel: str, left: Tensor, right: Tensor, **results: Tensor) -> None:
        data = ElementData(
            n_atoms=self.edges.n_atoms,
            n_edges=self.edges.n_edges,
            n_threads=self.edges.n_threads,
            first=self.edges.first.data_ptr(),
            center=self.edges.center.data_ptr(),
            neighbor=self.edges.neighbor.data_ptr(),
            element=self.species.data_ptr(),
            left=left.data_ptr(),
            right=right.data_ptr(),
            **{name: tensor.data_ptr() for name, tensor in results.items()},
        )
        tables = ElementTables(left.shape[1], right.shape[1], self.n_elements)
        run(f"{kernel}_by_element", left.dtype, tables, data)

    def parts(
        self, left: Tensor, n_right: int
    ) -> Iterator[tuple[slice | None, slice | None, _Plan]]:
        """Cuts the atoms: which of them, which edges, and the plan for these."""
        for atoms, rows, part in edge_parts(self.edges, left.shape[1] + n_right, senders=False):
            yield atoms, rows, replace(self, edges=part)


class _Sum(torch.autograd.Function):
    """Tensors come contiguous: a copy made inside could not be differentiated again."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, left: Tensor, right: Tensor) -> Tensor:
        ctx.plan = plan
        ctx.save_for_backward(left, right)
        sums = plan.sums(left, right.shape[1])
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
        sums = plan.sums(left, ctx.n_right)
        for atoms, rows, part in plan.parts(left, ctx.n_right):
            here, right = part.expect(cut(left, rows), network(cut(radial, rows)))
            part.call("sum", here, right, sums=cut(sums, atoms))
        return sums

    @staticmethod
    @last_derivative(ONLY_ONCE)
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        left, radial = ctx.saved_tensors
        grad = grad.contiguous()
        by_left, by_radial = torch.empty_like(left), torch.empty_like(radial)
        for atoms, rows, part in ctx.plan.parts(left, ctx.n_right):
            here = cut(left, rows)
            with torch.enable_grad():
                basis = cut(radial, rows).detach().requires_grad_(True)
                _, right = part.expect(here, ctx.network(basis))
            by_right = torch.empty_like(right)
            results = {"by_left": cut(by_left, rows), "by_right": by_right}
            part.call("spread", here, right, sums=cut(grad, atoms), **results)
            cut(by_radial, rows).copy_(pull_back(right, basis, by_right))
        return None, None, by_left, by_radial
