"""The neighbour sum a few atoms at a time, in bounded memory, differentiable once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from tlpot.kernels.calls import last_derivative, pointers, pull_back
from tlpot.kernels.convolution import ConvolutionPlan, EdgeLists, convolution_data

ONLY_ONCE = (
    "this graph said that the energy is differentiated once (AtomGraph.once); evaluate it with "
    "create_graph=True"
)

PART = 1 << 19
"""Radial values in a part, for each thread: 2 MiB in float32, which stay in a core's cache."""

MOST_PARTS = 512

MOST_KEPT = 1 << 21
"""Radial values in all parts up to which they are kept for the gradient, not computed again."""


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
