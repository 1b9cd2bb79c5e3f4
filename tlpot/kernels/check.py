"""Compares the compiled kernels with torch before they are first used."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tlpot.errors import KernelError
from tlpot.kernels.convolution import ConvolutionPlan, EdgeLists, convolve
from tlpot.kernels.product import ProductPlan, multiply


def check(dtype: torch.dtype) -> None:
    """Compares values and first and second derivatives on a small random problem.

    Raises:
        KernelError: they differ by more than rounding.
    """
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(0)
        differences = [_convolution(dtype), _product(dtype)]
    worst = max(differences)
    if not worst < 1e3 * torch.finfo(dtype).eps:
        raise KernelError(f"the compiled kernels differ from torch by {worst:.1e} in {dtype}")


def _convolution(dtype: torch.dtype) -> float:
    paths = [(0, 0, 0), (1, 1, 0), (1, 0, 1), (2, 1, 1)]
    couplings = np.random.default_rng(0).normal(size=(9, 1 + 3 + 3 + 9))
    center = torch.tensor([0, 0, 1, 1, 1, 3])
    neighbor = torch.tensor([1, 2, 0, 2, 3, 1])
    plan = ConvolutionPlan(paths, couplings, 8)
    lists = EdgeLists.of(center, neighbor, 4, dtype)
    inputs = [_random((6, 9), dtype), _random((6, 32), dtype)]
    inputs += [_random((4, 1, 8), dtype), _random((4, 3, 8), dtype)]

    def compiled(y: Tensor, r: Tensor, *h: Tensor) -> list[Tensor]:
        return convolve(plan, lists, y, r, h)

    def plain(y: Tensor, r: Tensor, *h: Tensor) -> list[Tensor]:
        angular = (y @ torch.from_numpy(couplings).to(dtype)).split([1, 3, 3, 9], dim=1)
        sums: list[list[Tensor]] = [[], []]
        for (_, l2, l3), a, w in zip(paths, angular, r.split(8, dim=1), strict=True):
            block = a.reshape(6, 2 * l2 + 1, 2 * l3 + 1)
            messages = torch.einsum("ekm,ec,ekc->emc", block, w, h[l2][neighbor])
            sums[l3].append(messages.new_zeros(4, 2 * l3 + 1, 8).index_add(0, center, messages))
        return [torch.cat(s, dim=2) for s in sums]

    return _difference(compiled, plain, inputs)


def _product(dtype: torch.dtype) -> float:
    terms = [((0,), 0), ((2,), 2), ((0, 0), 0), ((0, 3), 3), ((1, 2), 1), ((0, 1, 2), 0)]
    terms += [((2, 2, 2), 1), ((0, 1, 1), 2), ((0, 1, 3), 3), ((3, 3, 3), 0)]
    plan = ProductPlan(terms, 2, 2, 8)
    species = torch.tensor([0, 1, 1, 0, 1])
    inputs = [_random((2, len(terms), 8), dtype)]
    inputs += [_random((5, 1, 8), dtype), _random((5, 3, 8), dtype)]

    def compiled(w: Tensor, *x: Tensor) -> list[Tensor]:
        return multiply(plan, w, species, x)

    def plain(w: Tensor, *x: Tensor) -> list[Tensor]:
        joined = torch.cat(x, dim=1)
        out: list[Tensor] = [torch.zeros_like(joined[:, 0]) for _ in range(4)]
        for place, (monomial, output) in enumerate(plan.order):
            factor = joined[:, list(monomial)].prod(dim=1)
            out[output] = out[output] + w[species, place] * factor
        return [out[0][:, None], torch.stack(out[1:], dim=1)]

    return _difference(compiled, plain, inputs)


def _random(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, dtype=dtype).requires_grad_(True)


def _difference(compiled, plain, inputs: list[Tensor]) -> float:  # type: ignore[no-untyped-def]
    """The largest relative difference of values, gradients and gradients of these."""
    found = []
    for function in (compiled, plain):
        values = function(*inputs)
        total = torch.stack([(v.square() * 0.3 + v).sum() for v in values]).sum()
        first = torch.autograd.grad(total, inputs, create_graph=True)
        gradients = torch.stack([(g.square() + g).sum() for g in first]).sum()
        second = torch.autograd.grad(gradients, inputs)
        found.append([*values, *first, *second])
    return max(
        float(((a - b).abs().max() / (1.0 + b.abs().max())).detach())
        for a, b in zip(*found, strict=True)
    )
