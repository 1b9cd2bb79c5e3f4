"""The compiled harmonics and radial functions against e3nn and the torch formulas."""

import pytest
import torch
from e3nn import o3

from tlpot.kernels import EmbeddingPlan, embed
from tlpot.nn.couplings import harmonic_polynomials
from tlpot.nn.edges import BesselBasis

CUTOFF = 4.0


@pytest.fixture
def vectors():
    torch.manual_seed(0)
    return 2.0 * torch.randn(101, 3, dtype=torch.float64)


@pytest.mark.parametrize("l_max", [0, 1, 2, 3])
def test_harmonics(vectors, l_max):
    plan = EmbeddingPlan(harmonic_polynomials(l_max), CUTOFF, 1, 6)
    expected = o3.spherical_harmonics(list(range(l_max + 1)), vectors, True, "component")
    torch.testing.assert_close(embed(plan, vectors, torch.float64)[0], expected)


@pytest.mark.parametrize("power", [3, 6])
def test_radial_functions(vectors, power):
    plan = EmbeddingPlan(harmonic_polynomials(1), CUTOFF, 10, power)
    distances = torch.linalg.vector_norm(vectors, dim=1)
    assert (distances > CUTOFF).any()
    expected = BesselBasis(CUTOFF, 10, power)(distances)
    found = embed(plan, vectors, torch.float64)[1]
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)
    assert not found[distances >= CUTOFF].any()
    torch.testing.assert_close(embed(plan, vectors, torch.float32)[1], expected.float())


def test_no_edges():
    plan = EmbeddingPlan(harmonic_polynomials(2), CUTOFF, 8, 6)
    harmonics, radial = embed(plan, torch.empty(0, 3, dtype=torch.float64), torch.float32)
    assert harmonics.shape == (0, 9)
    assert radial.shape == (0, 8)
