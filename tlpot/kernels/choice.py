"""Which implementation of the sums a potential uses, and the proof that they agree with torch."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tlpot.errors import ConfigError, KernelError, TLPotWarning, nearest
from tlpot.graph import SegmentSum, segment_sum, segment_sum_backend
from tlpot.kernels.build import library
from tlpot.kernels.convolution import ConvolutionPlan, EdgeLists, convolve
from tlpot.kernels.distances import DistancePlan
from tlpot.kernels.elements import sum_by_element
from tlpot.kernels.embedding import EmbeddingPlan, embed
from tlpot.kernels.product import ProductPlan, multiply
from tlpot.kernels.structures import MAX_DEGREE

_Function = Callable[..., list[Tensor]]


def check(dtype: torch.dtype) -> None:
    """Compares values and first and second derivatives on small random problems.

    Raises:
        KernelError: they differ by more than rounding.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.device("cpu"),
    ):
        worst = max(_embedding(dtype), _convolution(dtype, 8), _product(dtype, 8))
        # channels that fill no register take another way
        worst = max(worst, _convolution(dtype, 3), _product(dtype, 3))
        worst = max(worst, _elements(dtype, 8), _elements(dtype, 3))
        worst = max(worst, _distances(dtype, 8), _distances(dtype, 3))
    if not worst < 1e3 * torch.finfo(dtype).eps:
        raise KernelError(f"the compiled kernels differ from torch by {worst:.1e} in {dtype}")


def _embedding(dtype: torch.dtype) -> float:
    table = np.random.default_rng(0).normal(size=(4, 4))
    table[0, 1:], table[1:, 0] = 0.0, 0.0
    cutoff, n_basis, p = 3.0, 4, 6
    plan = EmbeddingPlan(table, cutoff, n_basis, p)

    def compiled(r: Tensor) -> list[Tensor]:
        return list(embed(plan, r, dtype))

    def plain(r: Tensor) -> list[Tensor]:
        d = torch.linalg.vector_norm(r, dim=1, keepdim=True)
        unit = torch.cat([torch.ones_like(d), r / d], dim=1)
        u = (d / cutoff).clamp(max=1.0)
        fade = 1 - (p + 1) * (p + 2) / 2 * u**p + p * (p + 2) * u ** (p + 1)
        fade = fade - p * (p + 1) / 2 * u ** (p + 2)
        orders = torch.arange(1, n_basis + 1, dtype=r.dtype) * (math.pi / cutoff)
        radial = torch.sin(d * orders) / d * fade
        return [(unit @ torch.from_numpy(table).T).to(dtype), radial.to(dtype)]

    return _difference(compiled, plain, [_random((7, 3), torch.float64, 6)])


def _convolution(dtype: torch.dtype, c: int) -> float:
    paths = [(0, 0, 0), (1, 1, 0), (1, 0, 1), (2, 1, 1)]
    couplings = np.random.default_rng(0).normal(size=(9, 1 + 3 + 3 + 9))
    center = torch.tensor([0, 0, 1, 1, 1, 3])
    neighbor = torch.tensor([1, 2, 0, 2, 3, 1])
    plan = ConvolutionPlan(paths, couplings, c)
    lists = EdgeLists.of(center, neighbor, 4, dtype)
    inputs = [_random((6, 9), dtype, 1), _random((6, 4 * c), dtype, 2)]
    inputs += [_random((4, 1, c), dtype, 3), _random((4, 3, c), dtype, 4)]

    def compiled(y: Tensor, r: Tensor, *h: Tensor) -> list[Tensor]:
        return convolve(plan, lists, y, r, h)

    def plain(y: Tensor, r: Tensor, *h: Tensor) -> list[Tensor]:
        angular = (y @ torch.from_numpy(couplings).to(dtype)).split([1, 3, 3, 9], dim=1)
        sums: list[list[Tensor]] = [[], []]
        for (_, l2, l3), a, w in zip(paths, angular, r.split(c, dim=1), strict=True):
            block = a.reshape(6, 2 * l2 + 1, 2 * l3 + 1)
            messages = torch.einsum("ekm,ec,ekc->emc", block, w, h[l2][neighbor])
            sums[l3].append(messages.new_zeros(4, 2 * l3 + 1, c).index_add(0, center, messages))
        return [torch.cat(s, dim=2) for s in sums]

    return _difference(compiled, plain, inputs)


def _elements(dtype: torch.dtype, k: int) -> float:
    center = torch.tensor([0, 0, 1, 1, 1, 3])
    neighbor = torch.tensor([1, 2, 0, 2, 3, 1])
    species = torch.tensor([1, 0, 1, 0])
    lists = EdgeLists.of(center, neighbor, 4, dtype)
    inputs = [_random((6, 4), dtype, 8), _random((6, k), dtype, 9)]

    def compiled(a: Tensor, b: Tensor) -> list[Tensor]:
        return [sum_by_element(lists, species, 2, a, b)]

    def plain(a: Tensor, b: Tensor) -> list[Tensor]:
        tags = torch.eye(2, dtype=dtype)[species[neighbor]]
        products = torch.einsum("em,ez,ek->emzk", a, tags, b).flatten(2)
        return [products.new_zeros(4, 4, 2 * k).index_add(0, center, products)]

    return _difference(compiled, plain, inputs)


def _distances(dtype: torch.dtype, n_axes: int) -> float:
    """The largest difference of scores, which have no derivatives."""
    owner, farthest, softness = torch.tensor([2, 0, 0]), 7.0, 0.5
    species, system = torch.tensor([0, 2, 1, 0]), torch.tensor([0, 1, 0, 1])
    shapes = ((3, 5, n_axes), (3, n_axes), (3, n_axes), (4, 2), (4, 3))
    with torch.no_grad():
        arrays = [_random(shape, dtype, k) for k, shape in enumerate(shapes)]
        projection, shift, prototypes, *layers = arrays
        plan = DistancePlan(projection, shift, prototypes, owner, farthest, softness)
        compiled = torch.tensor(plan.scores(layers, species, system, 2), dtype=torch.float64)
        own = torch.einsum("if,ifa->ia", torch.cat(layers, dim=1), projection[species])
        pairs = (own + shift[species])[:, None] - prototypes
        squares = pairs.square().sum(dim=2).where(owner == species[:, None], torch.inf)
        atoms = squares.amin(dim=1).clamp(max=farthest**2).sqrt().double() / softness
        plain = torch.stack([atoms[system == k].exp().mean().log() for k in range(2)])
    return float((compiled - softness * plain).abs().max())


def _product(dtype: torch.dtype, c: int) -> float:
    terms = [((0,), 0), ((2,), 2), ((0, 0), 0), ((0, 3), 3), ((1, 2), 1), ((0, 1, 2), 0)]
    terms += [((2, 2, 2), 1), ((0, 1, 1), 2), ((0, 1, 3), 3), ((3, 3, 3), 0)]
    plan = ProductPlan(terms, 2, 2, c)
    species = torch.tensor([0, 1, 1, 0, 1])
    inputs = [_random((2, len(terms), c), dtype, 5)]
    inputs += [_random((5, 1, c), dtype, 6), _random((5, 3, c), dtype, 7)]

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


def _random(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    values = np.random.default_rng(seed).normal(size=shape)
    return torch.from_numpy(values).to(dtype).requires_grad_(True)


def _difference(compiled: _Function, plain: _Function, inputs: list[Tensor]) -> float:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernels:
    """An implementation of neighbour sums and products.

    Attributes:
        name: ``auto``, ``fused``, ``compiled``, ``torch`` or ``torch_scatter``.
        segment_sum: the scatter where torch does the sums.
    """

    name: str = "auto"
    segment_sum: SegmentSum = segment_sum

    def compiled(self, device: torch.device, dtype: torch.dtype, degree: int) -> bool:
        """Whether the compiled kernels serve a model up to some degree.

        Raises:
            KernelError: they were asked for by name and cannot serve.
        """
        if self.name in ("torch", "torch_scatter"):
            return False
        reason = None
        if torch.is_autocast_enabled("cpu"):
            reason = "the compiled kernels take no part in autocast"
        elif device.type != "cpu":
            reason = f"the compiled kernels run on the CPU, not on {device.type}"
        elif degree > MAX_DEGREE:
            reason = f"the compiled kernels go to degree {MAX_DEGREE}, the model to {degree}"
        elif dtype not in (torch.float32, torch.float64):
            reason = f"the compiled kernels know float32 and float64, not {dtype}"
        if reason is not None:
            if self.name in ("compiled", "fused"):
                raise KernelError(f"{reason}; use kernels='auto' or kernels='torch'")
            return False
        failure = _failure(dtype)
        if failure is not None and self.name in ("compiled", "fused"):
            raise KernelError(f"{failure}; mend that, or use kernels='torch'")
        return failure is None


def kernels_by_name(name: str) -> Kernels:
    """Returns an implementation.

    Args:
        name: ``auto`` (on a CPU where possible ``fused``, else ``compiled``, else ``torch``);
            ``fused``, which does a force call in one piece (whatever else is wanted of a model
            goes the way of ``compiled``); ``compiled``, sum by sum within torch; ``torch`` or
            ``torch_scatter``.

    Raises:
        ConfigError: no such implementation.
        MissingExtraError: torch-scatter is not installed.
    """
    names = ("auto", "fused", "compiled", "torch", "torch_scatter")
    if name not in names:
        raise ConfigError(f"unknown kernels {name!r}{nearest(name, names)}")
    scatter = segment_sum_backend("torch_scatter") if name == "torch_scatter" else segment_sum
    return Kernels(name=name, segment_sum=scatter)


@functools.cache
def _failure(dtype: torch.dtype) -> str | None:
    """Builds and checks the kernels; returns what is wrong with them, once for each process."""
    try:
        library(dtype)
        check(dtype)
    except KernelError as error:
        warnings.warn(
            f"tlpot runs several times slower than it could: {error}. Mend that (all it takes is a "
            "C++ compiler such as g++), or silence this with kernels='torch'",
            TLPotWarning,
            stacklevel=2,
        )
        return str(error)
    return None
