"""The neighbour sum A_i = Σ_j Σ_paths R_ij C Y_ij h_j, differentiable twice, or in parts once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlpot.errors import GeometryError
from tlpot.kernels.build import library
from tlpot.kernels.calls import (
    NO_THIRD,
    KernelPlan,
    contiguous,
    expect,
    expect_degrees,
    index32,
    last_derivative,
    number_of_threads,
    pointer,
    pointers,
    pull_back,
    run,
)
from tlpot.kernels.structures import ConvolutionData, ConvolutionTables
from tlpot.numbers import Floats

ONLY_ONCE = (
    "this graph said that the energy is differentiated once (AtomGraph.once); evaluate it with "
    "create_graph=True"
)

PART = 1 << 19
"""Radial values in a part, for each thread: 2 MiB in float32, which stay in a core's cache."""

MOST_PARTS = 512

MOST_KEPT = 1 << 21
"""Radial values in all parts up to which they are kept for the gradient, not computed again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeLists:
    """Directed edges sorted by center, listed by both ends.

    Attributes:
        center: [n_edges], ascending.
        neighbor: [n_edges].
        first: [n_atoms + 1]; edges first[i] to first[i+1] have center i.
        into: [n_nodes + 1].
        order: [n_edges]; edges order[into[j]] to order[into[j+1]] have neighbor j.
        dtype: whose kernels are in use.
        n_atoms: number of centers.
        n_nodes: number of atoms that a neighbor may be.
        n_edges: number of edges.
        n_threads: of everything that is computed with these lists, derivatives included.
    """

    center: Tensor
    neighbor: Tensor
    first: Tensor
    into: Tensor
    order: Tensor
    dtype: torch.dtype
    n_atoms: int
    n_nodes: int
    n_edges: int
    n_threads: int

    @classmethod
    def of(cls, center: Tensor, neighbor: Tensor, n_atoms: int, dtype: torch.dtype) -> EdgeLists:
        """Lists the edges of a graph on the CPU.

        Raises:
            GeometryError: the centers do not ascend, or an index is not that of an atom.
            ValueError: center and neighbor are not integers, two by two.
        """
        n_edges = center.numel()
        if center.is_floating_point() or neighbor.is_floating_point():
            raise ValueError("the pairs of a graph must be integers")
        center = expect("center", center.to(torch.int64), torch.int64, n_edges)
        neighbor = expect("neighbor", neighbor.to(torch.int64), torch.int64, n_edges)
        order = torch.empty_like(neighbor)
        return cls(
            center=center,
            neighbor=neighbor,
            first=_group(center, n_atoms, dtype),
            into=_group(neighbor, n_atoms, dtype, order),
            order=order,
            dtype=dtype,
            n_atoms=n_atoms,
            n_nodes=n_atoms,
            n_edges=n_edges,
            n_threads=number_of_threads(),
        )

    def between(self, begin: int, end: int, *, senders: bool) -> EdgeLists:
        """Returns the edges of the centers from `begin` to `end`, counted from there.

        Without `senders`, they are not listed by neighbor, which only gradients need.
        """
        low, high = int(self.first[begin]), int(self.first[end])
        neighbor = self.neighbor[low:high]
        into, order = self.into, self.order
        if senders:
            order = torch.empty_like(neighbor)
            into = _group(neighbor, self.n_nodes, self.dtype, order)
        return replace(
            self,
            center=self.center[low:high] - begin,
            neighbor=neighbor,
            first=self.first[begin : end + 1] - low,
            into=into,
            order=order,
            n_atoms=end - begin,
            n_edges=high - low,
        )


def _group(index: Tensor, n: int, dtype: torch.dtype, order: Tensor | None = None) -> Tensor:
    """Counts how many edges come before each atom's, and puts those in `order`, if it is given.

    Without it they must be in order already.
    """
    before = index.new_empty(n + 1)
    wrong = library(dtype).tlpot_group_edges(
        index.data_ptr(), len(index), n, before.data_ptr(), pointer(order)
    )
    if wrong:
        raise GeometryError(
            f"the pairs of a graph must name atoms 0 to {n - 1} and be sorted by center; make "
            "graphs with tlpot.graph.build_graph, or sort them"
        )
    return before


class ConvolutionPlan(KernelPlan):
    """The couplings of a convolution, as tables.

    Args:
        paths: (harmonic degree, sender degree, message degree), ordered by message degree.
        couplings: [n_harmonics, Σ_paths (2 l_sender + 1)(2 l_message + 1)].
        n_channels: channels.

    Raises:
        ValueError: the couplings are not those of the paths.
    """

    def __init__(
        self, paths: Sequence[tuple[int, int, int]], couplings: Floats, n_channels: int
    ) -> None:
        super().__init__(paths, couplings, n_channels)
        self.n_channels, self.n_paths = n_channels, len(paths)
        self.sender_degrees = max(l for _, l, _ in paths) + 1
        self.fan_in = [sum(p[2] == l for p in paths) for l in range(max(p[2] for p in paths) + 1)]
        rows, seen, offset = [], [0] * len(self.fan_in), 0
        for _, l2, l3 in paths:
            rows.append((l2, l3, offset, seen[l3], self.fan_in[l3]))
            seen[l3] += 1
            offset += (2 * l2 + 1) * (2 * l3 + 1)
        if couplings.ndim != 2 or couplings.shape[1] != offset:
            raise ValueError(f"couplings {couplings.shape} are not [n_harmonics, {offset}]")
        self.n_harmonics = len(couplings)
        self._paths = index32(rows)
        harmonic, angular = np.nonzero(couplings)
        by_output = np.lexsort((harmonic, angular))
        self._places = index32(np.stack([angular, harmonic], 1)[by_output])
        exact = torch.from_numpy(couplings[harmonic, angular][by_output])
        self._values = {t: exact.to(t).contiguous() for t in (torch.float32, torch.float64)}
        sizes = (n_channels, len(paths), offset, len(exact), self.n_harmonics)
        self._tables = {
            dtype: ConvolutionTables(
                *sizes, self._paths.data_ptr(), self._places.data_ptr(), values.data_ptr()
            )
            for dtype, values in self._values.items()
        }

    def call(self, kernel: str, like: Tensor, data: ConvolutionData, dual: bool) -> None:
        """Runs one kernel in the precision of `like`."""
        run(kernel, like.dtype, self._tables[like.dtype], data, dual)

    def expect(
        self, edges: EdgeLists, harmonics: Tensor, radial: Tensor, senders: Sequence[Tensor]
    ) -> list[Tensor]:
        """Returns the inputs in one piece, in the precision of `radial`, [n_edges, any].

        Raises:
            ValueError: they do not belong to these edges and couplings.
        """
        dtype, n_edges = radial.dtype, edges.n_edges
        return [
            expect("harmonics", harmonics, dtype, n_edges, self.n_harmonics),
            expect("radial values", radial, dtype, n_edges, radial.shape[-1]),
            *expect_degrees(
                "senders", senders, dtype, self.sender_degrees, edges.n_nodes, self.n_channels
            ),
        ]

    def expect_weights(self, weights: Tensor, edges: EdgeLists, dtype: torch.dtype) -> Tensor:
        """Returns radial weights in one piece, if there is one for each edge and path."""
        return expect("weights", weights, dtype, edges.n_edges, self.n_paths * self.n_channels)

    def outputs(self, like: Tensor, n_atoms: int) -> list[Tensor]:
        """Makes room for the messages, [n_atoms, 2l+1, paths·channels] by degree."""
        return [
            like.new_empty((n_atoms, 2 * l + 1, n * self.n_channels))
            for l, n in enumerate(self.fan_in)
        ]


def convolve(
    plan: ConvolutionPlan,
    edges: EdgeLists,
    harmonics: Tensor,
    weights: Tensor,
    senders: Sequence[Tensor],
) -> list[Tensor]:
    """Sums weighted, coupled features over the neighbours.

    Args:
        plan: the couplings.
        edges: who is whose neighbour.
        harmonics: [n_edges, n_harmonics].
        weights: [n_edges, n_paths · n_channels].
        senders: [n_nodes, 2l+1, n_channels] by degree.

    Returns:
        [n_atoms, 2l+1, n_paths of l · n_channels] by degree.

    Raises:
        ValueError: an input does not belong to these edges and couplings.
    """
    weights = plan.expect_weights(weights, edges, harmonics.dtype)
    tensors = plan.expect(edges, harmonics, weights, senders)
    return list(_Convolve.apply(plan, edges, *tensors))


class _Convolve(torch.autograd.Function):
    """Tensors come contiguous: a copy made inside could not be differentiated again."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: ConvolutionPlan,
        edges: EdgeLists,
        harmonics: Tensor,
        weights: Tensor,
        *senders: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.plan, ctx.edges = plan, edges
        ctx.save_for_backward(harmonics, weights, *senders)
        out = plan.outputs(weights, edges.n_atoms)
        data = convolution_data(edges, harmonics, weights, senders)
        data.out = pointers(out)
        plan.call("convolve", weights, data, dual=False)
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        needed = tuple(ctx.needs_input_grad[2:])
        tensors = (*ctx.saved_tensors, *(g.contiguous() for g in grads))
        found = _ConvolveGradient.apply(ctx.plan, ctx.edges, needed, *tensors)
        return (None, None, *found)


class _ConvolveGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        plan: ConvolutionPlan,
        edges: EdgeLists,
        needed: tuple[bool, ...],
        *tensors: Tensor,
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        harmonics, weights, *rest = tensors
        senders, grads = rest[: plan.sender_degrees], rest[plan.sender_degrees :]
        ctx.plan, ctx.edges = plan, edges
        ctx.save_for_backward(harmonics, weights, *senders, *grads)
        data = convolution_data(edges, harmonics, weights, senders)
        data.grad = pointers(grads)
        return _gradients(plan, data, harmonics, weights, senders, needed, dual=False)

    @staticmethod
    @last_derivative(NO_THIRD)
    def backward(ctx: Any, *directions: Tensor | None) -> tuple[Any, ...]:
        plan: ConvolutionPlan = ctx.plan
        harmonics, weights, *rest = ctx.saved_tensors
        senders, grads = rest[: plan.sender_degrees], rest[plan.sender_degrees :]
        d_harmonics, d_weights, *d_senders = contiguous(directions)
        data = convolution_data(ctx.edges, harmonics, weights, senders)
        data.grad = pointers(grads)
        data.d_harmonics, data.d_weights = pointer(d_harmonics), pointer(d_weights)
        data.d_senders = pointers(d_senders)
        needed = ctx.needs_input_grad[3 : 5 + len(senders)]
        found = _gradients(plan, data, harmonics, weights, senders, needed, dual=True)
        along = plan.outputs(weights, ctx.edges.n_atoms)
        data.out = pointers(along)
        plan.call("convolve", weights, data, dual=True)
        return (None, None, None, *found, *along)


def convolution_data(
    edges: EdgeLists, harmonics: Tensor, weights: Tensor, senders: Sequence[Tensor]
) -> ConvolutionData:
    """Returns what every kernel is given; outputs and gradients are for the caller to add."""
    return ConvolutionData(
        n_atoms=edges.n_atoms,
        n_nodes=edges.n_nodes,
        n_edges=edges.n_edges,
        n_threads=edges.n_threads,
        first=edges.first.data_ptr(),
        neighbor=edges.neighbor.data_ptr(),
        center=edges.center.data_ptr(),
        into=edges.into.data_ptr(),
        order=edges.order.data_ptr(),
        harmonics=harmonics.data_ptr(),
        weights=weights.data_ptr(),
        senders=pointers(senders),
    )


def _gradients(
    plan: ConvolutionPlan,
    data: ConvolutionData,
    harmonics: Tensor,
    weights: Tensor,
    senders: Sequence[Tensor],
    needed: Sequence[bool],
    *,
    dual: bool,
) -> tuple[Tensor | None, ...]:
    by_harmonics = torch.empty_like(harmonics) if needed[0] else None
    by_weights = torch.empty_like(weights) if needed[1] else None
    if needed[0] or needed[1]:
        data.grad_harmonics, data.grad_weights = pointer(by_harmonics), pointer(by_weights)
        plan.call("convolve_edges", weights, data, dual=dual)
    if not any(needed[2:]):
        return by_harmonics, by_weights, *(None for _ in senders)
    by_senders = [torch.zeros_like(h) for h in senders]
    data.grad_senders = pointers(by_senders)
    plan.call("convolve_senders", weights, data, dual=dual)
    return by_harmonics, by_weights, *by_senders


def convolve_in_parts(
    plan: ConvolutionPlan,
    edges: EdgeLists,
    harmonics: Tensor,
    radial: Tensor,
    senders: Sequence[Tensor],
    network: Callable[..., Tensor],
    *tags: Tensor,
) -> list[Tensor]:
    """Does what `convolve` does with weights ``network(radial)``, but never holds them all.

    They are computed part by part, and again for the gradient. No gradient goes to the
    network's own parameters.

    Args:
        plan: the couplings.
        edges: who is whose neighbour.
        harmonics: [n_edges, n_harmonics].
        radial: [n_edges, n_basis].
        senders: [n_nodes, 2l+1, n_channels] by degree.
        network: maps the radial basis of some edges, and their tags, to their weights.
        tags: [n_edges, n], what else the network reads of an edge; they get no gradient.

    Returns:
        See `convolve`.

    Raises:
        ValueError: an input, or what the network makes, does not belong to these edges.
    """
    tensors = plan.expect(edges, harmonics, radial, senders)
    fixed = tuple(tag.detach() for tag in tags)
    return list(_InParts.apply(plan, edges, network, fixed, *tensors))


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        plan: ConvolutionPlan,
        edges: EdgeLists,
        network: Callable[..., Tensor],
        tags: tuple[Tensor, ...],
        harmonics: Tensor,
        radial: Tensor,
        *senders: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.plan, ctx.edges, ctx.network, ctx.tags = plan, edges, network, tags
        ctx.save_for_backward(harmonics, radial, *senders)
        out = plan.outputs(radial, edges.n_atoms)
        width = plan.n_paths * plan.n_channels
        keep = edges.n_edges * width <= MOST_KEPT and ctx.needs_input_grad[5]
        ctx.kept = [] if keep else None
        for atoms, rows, part in edge_parts(edges, width, senders=False):
            basis = cut(radial, rows)
            with torch.set_grad_enabled(keep):
                basis = basis.detach().requires_grad_(keep)
                found = network(basis, *(cut(tag, rows) for tag in tags))
                weights = plan.expect_weights(found, part, radial.dtype)
            if keep:
                ctx.kept.append((basis, weights))
            data = convolution_data(part, cut(harmonics, rows), weights, senders)
            data.out = pointers([cut(o, atoms) for o in out])
            plan.call("convolve", weights, data, dual=False)
        return tuple(out)

    @staticmethod
    @last_derivative(ONLY_ONCE)
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        plan: ConvolutionPlan = ctx.plan
        harmonics, radial, *senders = ctx.saved_tensors
        grads = tuple(g.contiguous() for g in grads)
        by_harmonics, by_radial = torch.empty_like(harmonics), torch.empty_like(radial)
        wanted = any(ctx.needs_input_grad[6:])
        by_senders = [torch.zeros_like(h) for h in senders] if wanted else []
        width = plan.n_paths * plan.n_channels
        parts = edge_parts(ctx.edges, width, senders=wanted)
        kept, ctx.kept = ctx.kept, None  # it serves once: its graph is gone then
        for k, (atoms, rows, part) in enumerate(parts):
            if kept is not None:
                basis, weights = kept[k]
            else:
                with torch.enable_grad():
                    basis = cut(radial, rows).detach().requires_grad_(True)
                    made = ctx.network(basis, *(cut(tag, rows) for tag in ctx.tags))
                    weights = plan.expect_weights(made, part, radial.dtype)
            by_weights = torch.empty_like(weights)
            data = convolution_data(part, cut(harmonics, rows), weights, senders)
            data.grad = pointers([cut(g, atoms) for g in grads])
            data.grad_harmonics = cut(by_harmonics, rows).data_ptr()
            data.grad_weights = by_weights.data_ptr()
            plan.call("convolve_edges", weights, data, dual=False)
            if wanted:
                data.grad_senders = pointers(by_senders)
                plan.call("convolve_senders", weights, data, dual=False)
            cut(by_radial, rows).copy_(pull_back(weights, basis, by_weights))
        found = by_senders if wanted else [None] * len(senders)
        return (None, None, None, None, by_harmonics, by_radial, *found)


def cut(tensor: Tensor, rows: slice | None) -> Tensor:
    """Returns some rows of a tensor; None stands for all, without the price of a view."""
    return tensor if rows is None else tensor[rows]


def edge_parts(
    edges: EdgeLists, width: int, *, senders: bool
) -> Iterator[tuple[slice | None, slice | None, EdgeLists]]:
    """Cuts the atoms where their edges fill a part.

    Args:
        edges: of all atoms.
        width: numbers that are held for each edge.
        senders: whether the lists of a part are needed by neighbor, too.

    Yields:
        Which atoms, which edges, for `cut`, and the lists of these.
    """
    n_atoms, n_edges = edges.n_atoms, edges.n_edges
    room = PART * edges.n_threads // width
    # the lists of a part are as long as there are atoms, so their number must not grow with it
    room = max(room, n_edges // MOST_PARTS, 1)
    if n_edges <= room:
        yield None, None, edges
        return
    begin = 0
    while begin < n_atoms:
        low = int(edges.first[begin])
        end = int(torch.searchsorted(edges.first, low + room, right=True)) - 1
        end = min(max(end, begin + 1), n_atoms)
        part = edges.between(begin, end, senders=senders)
        yield slice(begin, end), slice(low, int(edges.first[end])), part
        begin = end
