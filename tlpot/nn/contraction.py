"""Sums over the slots of padded blocks as matrix products, differentiable as often as wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tlpot.padding import Blocks

Sizes = tuple[tuple[int, int], ...]


def contract(angular: Tensor, features: Tensor, blocks: Blocks) -> Tensor:
    """Returns out[i, m, c] = Σ_{e of i} Σ_k angular[e, k, m] · features[e, k, c].

    Args:
        angular: [n_slots, k, m].
        features: [n_slots, k, c].
        blocks: which slots are whose.

    Returns:
        [n_atoms, m, c], in the order of the atoms.
    """
    sums: Tensor = _Contract.apply(angular, features, blocks.sizes)
    return sums if blocks.place is None else sums.index_select(0, blocks.place)


class _Contract(torch.autograd.Function):
    """Writes the product of every block into its place, where split and cat would copy."""

    @staticmethod
    def forward(ctx: Any, angular: Tensor, features: Tensor, sizes: Sizes) -> Tensor:
        ctx.save_for_backward(angular, features)
        ctx.sizes = sizes
        n_atoms = sum(n for n, _ in sizes)
        out = features.new_empty((n_atoms, angular.shape[2], features.shape[2]))
        for atoms, left, right in _pairs(sizes, angular, features):
            torch.bmm(left.mT, right, out=out[atoms])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        angular, features = ctx.saved_tensors
        return (
            _Spread.apply(features, grad.mT, ctx.sizes) if ctx.needs_input_grad[0] else None,
            _Spread.apply(angular, grad, ctx.sizes) if ctx.needs_input_grad[1] else None,
            None,
        )


class _Spread(torch.autograd.Function):
    """out[e, k, c] = Σ_m values[e, k, m] · of_atom[i(e), m, c]."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, of_atom: Tensor, sizes: Sizes) -> Tensor:
        ctx.save_for_backward(values, of_atom)
        ctx.sizes = sizes
        out = values.new_empty((*values.shape[:2], of_atom.shape[2]))
        for atoms, left, to in _pairs(sizes, values, out):
            torch.bmm(left, of_atom[atoms], out=to)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        values, of_atom = ctx.saved_tensors
        return (
            _Spread.apply(grad, of_atom.mT, ctx.sizes) if ctx.needs_input_grad[0] else None,
            _Contract.apply(values, grad, ctx.sizes) if ctx.needs_input_grad[1] else None,
            None,
        )


def _pairs(sizes: Sizes, a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Gives for every block its atoms, and a and b as [atoms, slots · k, …]."""
    atom = edge = 0
    for n_atoms, slots in sizes:
        edges = slice(edge, edge + n_atoms * slots)
        rows = (n_atoms, slots * a.shape[1], -1)
        yield slice(atom, atom + n_atoms), a[edges].reshape(rows), b[edges].reshape(rows)
        atom, edge = atom + n_atoms, edges.stop
