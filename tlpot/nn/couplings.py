"""Constants of angular-momentum coupling, from e3nn's Clebsch–Gordan coefficients.

Only natural parity occurs, (−1)^l for degree l, so a coupling of degrees l₁ … l_ν to L exists
when their sum with L is even.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from e3nn import o3
from numpy.typing import NDArray

Monomial = tuple[int, ...]
"""Component indices l² + l + m of a product of basis functions, ascending."""

Polynomial = dict[Monomial, NDArray[np.float64]]
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
    coefficients: NDArray[np.float64]

    @property
    def n_paths(self) -> int:
        """Number of independent couplings."""
        return len(self.coefficients)


@cache
def clebsch_gordan(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    """Returns real coupling coefficients [2l₁+1, 2l₂+1, 2l₃+1] with Frobenius norm 1."""
    return o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()


@cache
def harmonic_polynomials(l_max: int) -> NDArray[np.float64]:
    """Returns [(l_max+1)², n]: the harmonics as polynomials of the unit vector.

    Component-normalised, in the monomials of degree 0 to l_max, x first: 1, x, y, z, x², xy, …
    """
    points = np.random.default_rng(0).normal(size=(200, 3))
    harmonics = o3.spherical_harmonics(
        list(range(l_max + 1)), torch.from_numpy(points), normalize=False, normalization="component"
    ).numpy()
    blocks, column = [], 0
    n_monomials = sum((l + 1) * (l + 2) // 2 for l in range(l_max + 1))
    for l in range(l_max + 1):
        # without normalisation degree l is homogeneous in the vector, so the fit is exact
        powers = list(itertools.combinations_with_replacement(range(3), l))
        monomials = np.stack([points[:, list(p)].prod(axis=1) for p in powers], axis=1)
        block = np.zeros((2 * l + 1, n_monomials))
        fit = np.linalg.lstsq(monomials, harmonics[:, l**2 : (l + 1) ** 2], rcond=None)[0].T
        block[:, column : column + len(powers)] = np.where(np.abs(fit) > 1e-9, fit, 0.0)
        blocks.append(block)
        column += len(powers)
    return np.concatenate(blocks)


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
    polynomials: list[dict[Monomial, NDArray[np.float64]]] = []
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


def fingerprint() -> str:
    """Returns a hash of the conventions that weights depend on: harmonics and couplings."""
    vectors = torch.tensor([[0.3, -0.5, 0.8], [-0.1, 0.9, 0.4]], dtype=torch.float64)
    harmonics = o3.spherical_harmonics([0, 1, 2, 3], vectors, True, "component").numpy()
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


def _polynomial(tensor: NDArray[np.float64], degrees: tuple[int, ...]) -> Polynomial:
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
