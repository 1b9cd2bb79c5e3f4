"""The neighbour sum A_i = Σ_j Σ_paths R_ij C Y_ij h_j, differentiable twice."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlpot.errors import GeometryError
from tlpot.kernels.build import library
from tlpot.kernels.pointers import (
    NO_THIRD,
    ConvolutionData,
    ConvolutionTables,
    contiguous,
    index32,
    last_derivative,
    pointer,
    pointers,
)


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
    """

    center: Tensor
    neighbor: Tensor
    first: Tensor
    into: Tensor
    order: Tensor
    dtype: torch.dtype

    @classmethod
    def of(cls, center: Tensor, neighbor: Tensor, n_atoms: int, dtype: torch.dtype) -> EdgeLists:
        """Lists the edges of a graph on the CPU.

        Raises:
            GeometryError: the centers do not ascend, or an index is not that of an atom.
        """
        center = center.to(torch.int64).contiguous()
        neighbor = neighbor.to(torch.int64).contiguous()
        first, _ = _group(center, n_atoms, dtype, ascending=True)
        into, order = _group(neighbor, n_atoms, dtype)
        return cls(
            center=center, neighbor=neighbor, first=first, into=into, order=order, dtype=dtype
        )

    def between(self, begin: int, end: int, *, senders: bool) -> EdgeLists:
        """Returns the edges of the centers from `begin` to `end`, counted from there.

        Without `senders`, they are not listed by neighbor, which only gradients need.
        """
        low, high = int(self.first[begin]), int(self.first[end])
        neighbor = self.neighbor[low:high]
        into, order = self.into, self.order
        if senders:
            into, order = _group(neighbor, len(self.into) - 1, self.dtype)
        return EdgeLists(
            center=self.center[low:high] - begin,
            neighbor=neighbor,
            first=self.first[begin : end + 1] - low,
            into=into,
            order=order,
            dtype=self.dtype,
        )


def _group(
    index: Tensor, n: int, dtype: torch.dtype, *, ascending: bool = False
) -> tuple[Tensor, Tensor]:
    into, order = index.new_empty(n + 1), torch.empty_like(index)
    wrong = library(dtype).tlpot_group_edges(
        *(ctypes.c_void_p(index.data_ptr()), ctypes.c_int64(len(index)), ctypes.c_int64(n)),
        *(ctypes.c_void_p(into.data_ptr()), ctypes.c_void_p(order.data_ptr())),
        ctypes.c_int(ascending),
    )
    if wrong:
        raise GeometryError(
            f"the pairs of a graph must name atoms 0 to {n - 1} and be sorted by center; make "
            "graphs with tlpot.graph.build_graph, or sort them"
        )
    return into, order


class ConvolutionPlan:
    """The couplings of a convolution, as tables.

    Args:
        paths: (harmonic degree, sender degree, message degree), ordered by message degree.
        couplings: [n_harmonics, Σ_paths (2 l_sender + 1)(2 l_message + 1)].
        n_channels: channels.
    """

    def __init__(
        self, paths: Sequence[tuple[int, int, int]], couplings: NDArray[np.float64], n_channels: int
    ) -> None:
        self._arguments = (paths, couplings, n_channels)
        self.n_channels, self.n_paths = n_channels, len(paths)
        self.sender_degrees = max(l for _, l, _ in paths) + 1
        self.fan_in = [sum(p[2] == l for p in paths) for l in range(max(p[2] for p in paths) + 1)]
        rows, seen, offset = [], [0] * len(self.fan_in), 0
        for _, l2, l3 in paths:
            rows.append((l2, l3, offset, seen[l3], self.fan_in[l3]))
            seen[l3] += 1
            offset += (2 * l2 + 1) * (2 * l3 + 1)
        self._paths = index32(rows)
        harmonic, angular = np.nonzero(couplings)
        by_output = np.lexsort((harmonic, angular))
        self._places = index32(np.stack([angular, harmonic], 1)[by_output])
        exact = torch.from_numpy(couplings[harmonic, angular][by_output])
        self._values = {t: exact.to(t).contiguous() for t in (torch.float32, torch.float64)}
        sizes = (n_channels, len(paths), offset, len(exact), len(couplings))
        self._tables = {
            dtype: ConvolutionTables(
                *sizes, self._paths.data_ptr(), self._places.data_ptr(), values.data_ptr()
            )
            for dtype, values in self._values.items()
        }

    def __deepcopy__(self, memo: dict[int, Any]) -> ConvolutionPlan:
        return self  # never changes

    def __reduce__(self) -> tuple[Any, ...]:
        return ConvolutionPlan, self._arguments

    def call(self, kernel: str, like: Tensor, data: ConvolutionData, dual: bool) -> None:
        """Runs one kernel in the precision of `like`."""
        function = getattr(library(like.dtype), f"tlpot_{kernel}")
        function(ctypes.byref(self._tables[like.dtype]), ctypes.byref(data), int(dual))

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
    """
    tensors = (t.contiguous() for t in (harmonics, weights, *senders))
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
        out = plan.outputs(weights, len(edges.first) - 1)
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
        along = plan.outputs(weights, len(ctx.edges.first) - 1)
        data.out = pointers(along)
        plan.call("convolve", weights, data, dual=True)
        return (None, None, None, *found, *along)


def convolution_data(
    edges: EdgeLists, harmonics: Tensor, weights: Tensor, senders: Sequence[Tensor]
) -> ConvolutionData:
    """Returns what every kernel is given; outputs and gradients are for the caller to add."""
    data = ConvolutionData()
    data.n_atoms, data.n_nodes = len(edges.first) - 1, len(edges.into) - 1
    data.n_edges, data.n_threads = len(edges.center), torch.get_num_threads()
    data.first, data.neighbor = edges.first.data_ptr(), edges.neighbor.data_ptr()
    data.center = edges.center.data_ptr()
    data.into, data.order = edges.into.data_ptr(), edges.order.data_ptr()
    data.harmonics, data.weights = harmonics.data_ptr(), weights.data_ptr()
    data.senders = pointers(senders)
    return data


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
