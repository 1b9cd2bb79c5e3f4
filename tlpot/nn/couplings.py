"""Constants of angular-momentum coupling, and constants that follow their module's precision.

Only natural parity occurs, (−1)^l for degree l, so a coupling of degrees l₁ … l_ν to L exists
when their sum with L is even. Components of degree 1 are x, y, z. The constants are e3nn's, which
the tests compare, without its import: that takes longer than torch's.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import factorial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlpot.numbers import Floats


class Constant(nn.Module):
    """A tensor kept in float64 and cast anew whenever the module moves.

    A plain buffer that goes to float32 and back keeps only seven digits; this one does not, so
    a model converted in memory equals one loaded in that precision, bit for bit. It is no part
    of the state dict.
    """

    value: Tensor

    def __init__(self, exact: np.ndarray | Tensor) -> None:
        super().__init__()
        self.exact = torch.as_tensor(exact, dtype=torch.float64)
        self.register_buffer("value", self.exact.to(torch.get_default_dtype()), persistent=False)

    def forward(self) -> Tensor:
        """Returns the tensor in the precision and on the device of its module."""
        return self.value

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self.value = self.exact.to(self.value)
        return self


class DoubleBuffer(nn.Module):
    """A buffer that stays float64 when its module changes precision.

    Args:
        value: what it holds.
        saved: whether it belongs to the model's file.
    """

    value: Tensor

    def __init__(self, value: np.ndarray | Tensor, *, saved: bool = True) -> None:
        super().__init__()
        exact = torch.as_tensor(value, dtype=torch.float64)
        self.register_buffer("value", exact, persistent=saved)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        exact = self.value
        super()._apply(fn, recurse)
        self.value = exact.to(self.value.device)
        return self


Monomial = tuple[int, ...]
"""Component indices l² + l + m of a product of basis functions, ascending."""

Polynomial = dict[Monomial, Floats]
"""Coefficients [2L + 1] by monomial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProductBasis:
    """Symmetric products of `order` factors, coupled to degree `degree`.

    Attributes:
        degree: L.
        order: number of factors ν.
        monomials: the products that occur.
        coefficients: [n_paths, 2L + 1, n_monomials].
    """

    degree: int
    order: int
    monomials: tuple[Monomial, ...]
    coefficients: Floats

    @property
    def n_paths(self) -> int:
        """Number of independent couplings."""
        return len(self.coefficients)


@cache
def clebsch_gordan(l1: int, l2: int, l3: int) -> Floats:
    """Returns real coupling coefficients [2l₁+1, 2l₂+1, 2l₃+1] with Frobenius norm 1."""
    q1, q2, q3 = (_real_components(l) for l in (l1, l2, l3))
    # torch adds in the order of e3nn, so that the last bits agree, too
    coupled = torch.einsum(
        "ij,kl,mn,ikn->jlm", q1, q2, torch.conj(q3.T), _complex_clebsch_gordan(l1, l2, l3)
    ).real
    return (coupled / torch.norm(coupled)).numpy()


def _complex_clebsch_gordan(l1: int, l2: int, l3: int) -> Tensor:
    """Returns ⟨l₁m₁ l₂m₂|l₃m₃⟩, [2l₁+1, 2l₂+1, 2l₃+1], by Racah's formula in exact fractions."""
    table = torch.zeros(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, dtype=torch.complex128)
    for m1, m2 in itertools.product(range(-l1, l1 + 1), range(-l2, l2 + 1)):
        m3 = m1 + m2
        if abs(m3) > l3:
            continue
        square = Fraction(
            math.prod(map(factorial, (l3 + l1 - l2, l3 - l1 + l2, l1 + l2 - l3, l3 + m3, l3 - m3))),
            math.prod(map(factorial, (l1 + l2 + l3 + 1, l1 - m1, l1 + m1, l2 - m2, l2 + m2))),
        )
        first = max(0, l2 - l1 + m3, m1 - l1)
        last = min(l2 + l3 + m1, l3 - l1 + l2, l3 + m3)
        total = sum(
            Fraction(
                (-1) ** (k + l2 + m2) * factorial(l2 + l3 + m1 - k) * factorial(l1 - m1 + k),
                math.prod(map(factorial, (k, l3 - l1 + l2 - k, l3 + m3 - k, k + l1 - l2 - m3))),
            )
            for k in range(first, last + 1)
        )
        table[l1 + m1, l2 + m2, l3 + m3] = ((2.0 * l3 + 1.0) * square) ** 0.5 * total
    return table


def _real_components(l: int) -> Tensor:
    """Returns the unitary matrix [2l+1, 2l+1] from complex to real harmonics.

    The phase (−i)^l makes the couplings real.
    """
    table = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    table[l, l] = 1
    for m in range(1, l + 1):
        sign = (-1) ** m
        table[l - m, l + m], table[l - m, l - m] = 1 / 2**0.5, -1j / 2**0.5
        table[l + m, l + m], table[l + m, l - m] = sign / 2**0.5, 1j * sign / 2**0.5
    return torch.from_numpy((-1j) ** l * table)


@cache
def harmonic_polynomials(l_max: int) -> Floats:
    """Returns [(l_max+1)², n]: the harmonics as polynomials of the unit vector.

    Component-normalised, Σ_m Y_lm² = 2l + 1, in the monomials of degree 0 to l_max, x first:
    1, x, y, z, x², xy, … Degree l is the coupling of degree l − 1 with the vector itself.
    """
    monomials = harmonic_monomials(l_max)
    column = {monomial: k for k, monomial in enumerate(monomials)}
    table = np.zeros(((l_max + 1) ** 2, len(monomials)))
    table[0, 0] = 1.0
    for l in range(1, l_max + 1):
        lower, block = slice((l - 1) ** 2, l * l), slice(l * l, (l + 1) ** 2)
        coupling = clebsch_gordan(l - 1, 1, l)
        for monomial in (m for m in monomials if len(m) == l - 1):
            for axis in range(3):
                product = column[tuple(sorted((*monomial, axis)))]
                table[block, product] += table[lower, column[monomial]] @ coupling[:, axis]
        # at the pole y every harmonic but that with m = 0 vanishes
        pole = column[(1,) * l]
        table[block] *= math.sqrt(2 * l + 1) / table[l * l + l, pole]
    return np.where(np.abs(table) > 1e-9, table, 0.0)


def harmonic_monomials(l_max: int) -> list[Monomial]:
    """Lists the monomials of `harmonic_polynomials` as ascending axes."""
    return [
        powers
        for l in range(l_max + 1)
        for powers in itertools.combinations_with_replacement(range(3), l)
    ]


def convolution_paths(l_in: int, l_edge: int, l_out: int) -> list[tuple[int, int, int]]:
    """Lists couplings (l_edge, l_sender, l_message), ordered by message then sender degree."""
    return [
        (l1, l2, l3)
        for l3 in range(l_out + 1)
        for l2 in range(l_in + 1)
        for l1 in range(l_edge + 1)
        if abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 + l3) % 2 == 0
    ]


@cache
def product_basis(l_max: int, degree: int, order: int) -> ProductBasis:
    """Builds all independent symmetric couplings of `order` factors of degree up to `l_max`.

    The generalised Clebsch–Gordan coefficients of the atomic cluster expansion
    (Drautz, doi:10.1103/PhysRevB.99.014104), symmetrised over the factors so that each
    monomial appears once and those that vanish never appear. Couplings of one set of degrees
    are orthonormalised in a fixed order, hence reproducible. They are scaled to unit variance
    for independent normal factors, up to lower-order contractions.
    """
    polynomials: list[dict[Monomial, Floats]] = []
    for degrees in itertools.combinations_with_replacement(range(l_max + 1), order):
        if (sum(degrees) + degree) % 2 == 0:
            polynomials += _independent(_couplings(degrees, degree))
    monomials = sorted({m for polynomial in polynomials for m in polynomial})
    column = {monomial: k for k, monomial in enumerate(monomials)}
    coefficients = np.zeros((len(polynomials), 2 * degree + 1, len(monomials)))
    for path, polynomial in enumerate(polynomials):
        for monomial, vector in polynomial.items():
            coefficients[path, :, column[monomial]] = vector
    return ProductBasis(
        degree=degree, order=order, monomials=tuple(monomials), coefficients=coefficients
    )


@cache
def fingerprint() -> str:
    """Returns a hash of the conventions that weights depend on: harmonics and couplings."""
    vectors = np.array([[0.3, -0.5, 0.8], [-0.1, 0.9, 0.4]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    monomials = np.stack(
        [vectors[:, list(powers)].prod(axis=1) for powers in harmonic_monomials(3)], axis=1
    )
    harmonics = monomials @ harmonic_polynomials(3).T
    digest = hashlib.sha256()
    triples = itertools.product(range(4), repeat=3)
    parts = [harmonics] + [
        clebsch_gordan(*t) for t in triples if abs(t[0] - t[1]) <= t[2] <= t[0] + t[1]
    ]
    for part in parts:
        # adding zero turns −0 into +0
        digest.update((np.round(part, 6) + 0.0).astype("<f8").tobytes())
    return digest.hexdigest()[:16]


def _couplings(degrees: tuple[int, ...], degree: int) -> list[Polynomial]:
    """Returns one polynomial for each way of coupling `degrees` in turn to `degree`."""
    trees = [(degrees[0], np.eye(2 * degrees[0] + 1))]
    for added in degrees[1:]:
        trees = [
            (total, np.tensordot(tensor, clebsch_gordan(partial, added, total), axes=1))
            for partial, tensor in trees
            for total in range(abs(partial - added), partial + added + 1)
        ]
    return [_polynomial(tensor, degrees) for total, tensor in trees if total == degree]


def _polynomial(tensor: Floats, degrees: tuple[int, ...]) -> Polynomial:
    """Collects the entries of a coupling tensor [2l₁+1, …, 2L+1] by unordered monomial."""
    collected: Polynomial = {}
    for place in np.ndindex(tensor.shape[:-1]):
        monomial = tuple(sorted(l * l + m for l, m in zip(degrees, place, strict=True)))
        collected[monomial] = collected.get(monomial, 0.0) + tensor[place]
    return {m: vector for m, vector in collected.items() if np.abs(vector).max() > 1e-10}


def _independent(polynomials: list[Polynomial]) -> list[Polynomial]:
    """Orthonormalises by Gram–Schmidt, dropping what vanishes or depends on the others."""
    kept: list[Polynomial] = []
    for candidate in polynomials:
        rest = dict(candidate)
        before = _dot(rest, rest)
        for other in kept:
            overlap = _dot(rest, other) / _dot(other, other)
            for monomial, vector in other.items():
                rest[monomial] = rest.get(monomial, 0.0) - overlap * vector
        after = _dot(rest, rest)
        if before > 1e-10 and after > 1e-8 * before:
            size = len(next(iter(rest.values())))
            scale = math.sqrt(size / after)
            kept.append({m: scale * v for m, v in rest.items() if np.abs(v).max() > 1e-10})
    return kept


def _dot(a: Polynomial, b: Polynomial) -> float:
    """Covariance of two polynomials of independent normal variables, contractions left out."""
    return float(sum(_permutations(m) * (a[m] @ b[m]) for m in a.keys() & b.keys()))


def _permutations(monomial: Monomial) -> int:
    """Π_k n_k! for factors repeated n_k times: ⟨x^n x^n⟩ without lower-order contractions."""
    return math.prod(math.factorial(monomial.count(k)) for k in set(monomial))
