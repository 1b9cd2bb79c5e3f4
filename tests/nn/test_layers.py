"""Blocks of the network, each against an independent formula or e3nn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from e3nn import o3

from tlpot.graph import build_graph, segment_sum
from tlpot.kernels import Kernels
from tlpot.nn import Convolution, DoubleBuffer, EdgeEmbedding, ZBLRepulsion
from tlpot.nn.channels import ChannelMLP
from tlpot.nn.couplings import Constant
from tlpot.nn.edges import BesselBasis, envelope
from tlpot.system import System

CUTOFF = 4.0


@pytest.fixture
def edges():
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], CUTOFF, layout="sorted")
    return EdgeEmbedding(2, CUTOFF, 8, 6, Kernels(name="torch")).double()(graph, torch.float64)


def test_envelope_and_its_derivatives_vanish_at_the_cutoff():
    r = torch.tensor([0.0, CUTOFF - 1e-4, CUTOFF, CUTOFF + 1.0], dtype=torch.float64)
    r.requires_grad_(True)
    value = envelope(r, CUTOFF, 6)
    (slope,) = torch.autograd.grad(value.sum(), r)
    assert value[0] == 1.0
    assert value[2] == value[3] == 0.0
    assert slope[2] == slope[3] == 0.0
    assert 0 < value[1] < 1e-10


def test_bessel_functions_match_their_formula():
    r = torch.tensor([1.3], dtype=torch.float64)
    basis = BesselBasis(CUTOFF, 3, 6).double()(r)[0].numpy()
    expected = [math.sin(n * math.pi * 1.3 / CUTOFF) / 1.3 for n in (1, 2, 3)]
    np.testing.assert_allclose(basis, np.array(expected) * envelope(r, CUTOFF, 6).numpy())


@pytest.fixture
def double_by_default():
    """e3nn keeps its constants in the default precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_by_default")
def test_convolution_equals_e3nn_tensor_product(edges):
    """The matrix-product form against e3nn's TensorProduct, path by path."""
    c, l_in = 3, 1
    convolution = Convolution(
        l_in=l_in, l_edge=2, l_out=2, n_channels=c, n_basis=8, radial_hidden=(), avg_neighbors=1.0
    ).double()
    features = [torch.randn(edges.n_atoms, n, c, dtype=torch.float64) for n in (1, 3)]
    weights = convolution.radial(edges.radial).split(c, dim=1)
    sums = {l: [] for l in range(3)}
    for (l1, l2, l3), w in zip(convolution.paths, weights, strict=True):
        product = o3.TensorProduct(
            [(1, (l1, (-1) ** l1))],
            [(c, (l2, (-1) ** l2))],
            [(c, (l3, (-1) ** l3))],
            [(0, 0, 0, "uvv", True)],
            irrep_normalization="component",
            path_normalization="none",
            shared_weights=False,
            internal_weights=False,
        ).double()
        senders = features[l2][edges.neighbor].mT.reshape(len(w), -1)
        y = edges.harmonics[:, l1**2 : (l1 + 1) ** 2]
        messages = product(y, senders, w).view(len(w), c, 2 * l3 + 1).mT
        sums[l3].append(segment_sum(messages, edges.center, edges.n_atoms))
    expected = [mix(torch.cat(sums[l], dim=2)) for l, mix in enumerate(convolution.mix)]
    torch.testing.assert_close(convolution(features, edges), expected, rtol=1e-11, atol=1e-11)


def test_mlp_without_bias_maps_zero_to_zero():
    assert not ChannelMLP(4, 8, 2)(torch.zeros(3, 4)).any()


def test_zbl_of_two_protons_at_short_range():
    """k Z²/r φ(r/a) with the four exponentials written out, far inside the envelope."""
    r = 0.15
    graph = build_graph([System.from_atoms(molecule("H2"))], CUTOFF, layout="sorted")
    graph.positions[:] = torch.tensor([[0.0, 0, 0], [0, 0, r]])
    edges = EdgeEmbedding(0, CUTOFF, 1, 6, Kernels(name="torch")).double()(graph, torch.float64)
    energy = ZBLRepulsion((1,), 6).double()(edges, torch.zeros(2, dtype=torch.int64)).sum()
    a = 0.88534 * 0.52917721 / 2.0
    x = r / a
    phi = (
        0.18175 * math.exp(-3.1998 * x)
        + 0.50986 * math.exp(-0.94229 * x)
        + 0.28022 * math.exp(-0.4029 * x)
        + 0.02817 * math.exp(-0.20162 * x)
    )
    fade = float(envelope(torch.tensor(r, dtype=torch.float64), 0.75 * 0.62, 6))
    assert float(energy) == pytest.approx(14.399645 / r * phi * fade, rel=1e-6)


def test_constants_lose_no_digits_in_a_round_trip_of_precision():
    exact = torch.tensor([math.pi], dtype=torch.float64)
    constant = Constant(exact).float().double()
    assert constant() == exact
    assert Constant(exact).float()().dtype == torch.float32
    assert DoubleBuffer(exact).float().value == exact


@pytest.mark.parametrize("hidden", [(), (5,), (7, 5)])
def test_convolution_of_elements_equals_that_of_their_atoms(hidden):
    """Summing hidden radial values by element first is the same sum, with its derivatives."""
    atoms = molecule("CH3OH")
    graph = build_graph([System.from_atoms(atoms)], CUTOFF, layout="padded")
    embedding = EdgeEmbedding(2, CUTOFF, 8, 6, Kernels(name="torch")).double()
    sizes = {"l_in": 0, "l_edge": 2, "l_out": 2, "n_channels": 4, "n_basis": 8}
    layer = Convolution(**sizes, radial_hidden=hidden, avg_neighbors=4.0).double()
    table = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    species = torch.tensor([(1, 6, 8).index(z) for z in atoms.numbers])
    found = []
    for factored in (False, True):
        positions = graph.positions.clone().requires_grad_(True)
        edges = embedding(replace(graph, positions=positions), torch.float64)
        assert layer.prefers_elements(len(table), edges)
        if factored:
            sums = layer.of_elements(table, species, edges)
        else:
            sums = layer([table[species][:, None]], edges)
        value = sum((s * torch.arange(s.numel()).view(s.shape)).sum() for s in sums)
        (slope,) = torch.autograd.grad(value, positions, create_graph=True)
        second = torch.autograd.grad(slope.square().sum(), [*layer.parameters(), table])
        found.append([*sums, slope, *second])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_elements_are_summed_apart_where_that_is_less_work():
    layer = Convolution(
        l_in=0, l_edge=2, l_out=2, n_channels=3, n_basis=8, radial_hidden=(4,), avg_neighbors=4.0
    )
    embedding = EdgeEmbedding(2, CUTOFF, 8, 6, Kernels(name="torch"))
    systems = [System.from_atoms(molecule("CH3OH"))]
    edges = embedding(build_graph(systems, CUTOFF, layout="padded"), torch.float32)
    assert layer.prefers_elements(3, edges)
    assert not layer.prefers_elements(80, edges)
    edges = embedding(build_graph(systems, CUTOFF, layout="sorted"), torch.float32)
    assert not layer.prefers_elements(3, edges), "torch sums by element in blocks only"
