"""Coupling constants: counts, equivariance, completeness."""

import itertools

import numpy as np
import pytest
import torch
from e3nn import o3

from tlpot.nn.couplings import clebsch_gordan, convolution_paths, fingerprint, product_basis
from tlpot.nn.edges import Harmonics


@pytest.mark.parametrize(
    ("degree", "order", "n_paths", "n_monomials"),
    [(0, 2, 4, 16), (0, 3, 8, 77), (1, 2, 3, 35), (1, 3, 12, 278)],
)
def test_number_of_couplings_up_to_f_functions(degree, order, n_paths, n_monomials):
    """Counts of Clebsch–Gordan series of symmetric powers with natural parity."""
    basis = product_basis(3, degree, order)
    assert (basis.n_paths, len(basis.monomials)) == (n_paths, n_monomials)


def rotation(l_max: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Representation matrices from the harmonics themselves: e3nn's have single precision."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    matrix = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
    blocks = []
    for l in range(l_max + 1):
        before, after = (o3.spherical_harmonics(l, p, True) for p in (points, points @ matrix.T))
        blocks.append(torch.linalg.lstsq(before, after).solution.T.numpy())
    full = np.zeros(((l_max + 1) ** 2,) * 2)
    for l, block in enumerate(blocks):
        full[l * l : (l + 1) ** 2, l * l : (l + 1) ** 2] = block
    return full, blocks


def products(basis, x: np.ndarray) -> np.ndarray:
    values = np.array([np.prod(x[list(m)]) for m in basis.monomials])
    return basis.coefficients @ values


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("l_max", [2, 3])
def test_products_rotate_like_their_degree(l_max, degree, order):
    basis = product_basis(l_max, degree, order)
    x = np.random.default_rng(order).normal(size=(l_max + 1) ** 2)
    full, blocks = rotation(l_max, seed=degree)
    rotated = products(basis, full @ x)
    np.testing.assert_allclose(rotated, products(basis, x) @ blocks[degree].T, atol=1e-12)


@pytest.mark.parametrize(("degree", "order"), [(0, 2), (0, 3), (1, 3), (2, 2)])
def test_couplings_are_independent(degree, order):
    basis = product_basis(2, degree, order)
    flat = basis.coefficients.reshape(basis.n_paths, -1)
    assert np.linalg.matrix_rank(flat, tol=1e-8) == basis.n_paths


def test_convolution_paths_have_natural_parity_and_obey_the_triangle_rule():
    paths = convolution_paths(1, 2, 2)
    assert paths == [
        (0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (2, 1, 1), (2, 0, 2), (1, 1, 2),
    ]  # fmt: skip


def test_fingerprint_is_reproducible():
    assert fingerprint() == fingerprint()
    assert len(fingerprint()) == 16


def test_couplings_and_harmonics_are_those_of_e3nn():
    for l1, l2 in itertools.product(range(7), range(5)):
        for l3 in range(abs(l1 - l2), l1 + l2 + 1):
            expected = o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()
            np.testing.assert_array_equal(clebsch_gordan(l1, l2, l3), expected)
    torch.manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(50, 3, dtype=torch.float64))
    for l_max in range(5):
        degrees = list(range(l_max + 1))
        expected = o3.spherical_harmonics(degrees, points, False, "component")
        torch.testing.assert_close(Harmonics(l_max)(points), expected, rtol=0.0, atol=1e-14)
