"""Every compiled kernel against finite differences of itself, to second order."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from tlpot.errors import GeometryError
from tlpot.kernels import (
    ConvolutionPlan,
    EdgeLists,
    EmbeddingPlan,
    ProductPlan,
    convolve,
    convolve_in_parts,
    embed,
    multiply,
    sum_by_element,
    sum_by_element_in_parts,
)
from tlpot.kernels import convolution as parts
from tlpot.nn.couplings import harmonic_polynomials

PATHS = [(0, 0, 0), (1, 1, 0), (1, 0, 1), (2, 1, 1), (2, 0, 2), (3, 2, 3)]
CENTER = torch.tensor([0, 0, 1, 1, 1, 3])
NEIGHBOR = torch.tensor([1, 2, 0, 2, 3, 1])


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def convolution(channels):
    sizes = [(2 * l2 + 1) * (2 * l3 + 1) for _, l2, l3 in PATHS]
    couplings = np.random.default_rng(0).normal(size=(16, sum(sizes)))
    plan = ConvolutionPlan(PATHS, couplings, channels)
    lists = EdgeLists.of(CENTER, NEIGHBOR, 4, torch.float64)
    senders = [random(4, 2 * l + 1, channels) for l in range(3)]
    return plan, lists, random(6, 16), senders


@pytest.mark.parametrize("channels", [1, 4])
def test_convolution(channels):
    plan, lists, harmonics, senders = convolution(channels)
    weights = random(6, len(PATHS) * channels)

    def run(y, r, *h):
        return tuple(convolve(plan, lists, y, r, h))

    assert gradcheck(run, (harmonics, weights, *senders))
    assert gradgradcheck(run, (harmonics, weights, *senders))


@pytest.mark.parametrize("k", [1, 4])
def test_sums_by_element(k):
    lists = EdgeLists.of(CENTER, NEIGHBOR, 4, torch.float64)
    species = torch.tensor([1, 0, 2, 0])

    def run(a, b):
        return sum_by_element(lists, species, 3, a, b)

    left, right = random(6, 4), random(6, k)
    assert run(left, right)[2].abs().max() == 0.0, "an atom without neighbours"
    assert gradcheck(run, (left, right))
    assert gradgradcheck(run, (left, right))

    def slopes(a, b):
        return torch.autograd.grad(run(a, b).square().sum(), (a, b), create_graph=True)

    assert gradgradcheck(slopes, (left, right)), "third derivatives"


def transposed(function, inputs):
    """The function of the transposes, with its results transposed: nothing lies as it should."""
    turned = [x.detach().mT.contiguous().requires_grad_(True) for x in inputs]

    def run(*tensors):
        results = function(*(x.mT for x in tensors))
        return tuple(x.mT for x in results)

    return run, turned


def test_second_derivatives_of_tensors_that_are_not_contiguous():
    """A kernel that copies them would lose what depends on the original."""
    plan, lists, harmonics, senders = convolution(2)
    species = torch.tensor([1, 0, 2, 0])
    terms = ProductPlan([((0, 1, 2), 0), ((1, 3), 2), ((2,), 3)], 2, 2, 3)
    points = EmbeddingPlan(harmonic_polynomials(2), 4.0, 3, 6)
    cases = [
        (
            lambda y, r, *h: convolve(plan, lists, y, r, h),
            (harmonics, random(6, len(PATHS) * 2), *senders),
        ),
        (lambda a, b: [sum_by_element(lists, species, 3, a, b)], (random(6, 4), random(6, 4))),
        (
            lambda w, *x: multiply(terms, w, species, x),
            (random(3, 3, 3), random(4, 1, 3), random(4, 3, 3)),
        ),
        (lambda r: embed(points, r, torch.float64), (random(5, 3),)),
    ]
    for function, inputs in cases:
        assert gradgradcheck(*transposed(function, inputs))


@pytest.mark.parametrize("room", [1, 30, 10**6])
def test_convolution_in_parts_is_the_convolution(monkeypatch, room):
    monkeypatch.setattr(parts, "PART", room)
    plan, lists, harmonics, senders = convolution(4)
    basis, matrix = random(6, 3), random(3, len(PATHS) * 4).detach()

    def network(x):
        return torch.tanh(x @ matrix)

    inputs = (harmonics, basis, *senders)
    whole = convolve(plan, lists, harmonics, network(basis), senders)
    divided = convolve_in_parts(plan, lists, harmonics, basis, senders, network)
    torch.testing.assert_close(divided, whole, rtol=1e-13, atol=1e-13)
    weights = [torch.randn_like(x) for x in whole]
    expected = torch.autograd.grad(whole, inputs, weights)
    torch.testing.assert_close(
        torch.autograd.grad(divided, inputs, weights), expected, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("room", [1, 30, 10**6])
def test_sums_by_element_in_parts_are_the_sums(monkeypatch, room):
    monkeypatch.setattr(parts, "PART", room)
    lists = EdgeLists.of(CENTER, NEIGHBOR, 4, torch.float64)
    species = torch.tensor([1, 0, 2, 0])
    left, basis, matrix = random(6, 4), random(6, 3), random(3, 5).detach()

    def network(x):
        return torch.tanh(x @ matrix)

    whole = sum_by_element(lists, species, 3, left, network(basis))
    divided = sum_by_element_in_parts(lists, species, 3, left, basis, network)
    torch.testing.assert_close(divided, whole, rtol=1e-13, atol=1e-13)
    weights = torch.randn_like(whole)
    expected = torch.autograd.grad(whole, (left, basis), weights)
    found = torch.autograd.grad(divided, (left, basis), weights)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    nothing = EdgeLists.of(CENTER[:0], NEIGHBOR[:0], 4, torch.float64)
    none = sum_by_element_in_parts(nothing, species, 3, left[:0], basis[:0], network)
    assert torch.equal(none, torch.zeros_like(whole))


def third_derivative(function, inputs):
    """The gradient of a gradient of a gradient, by the call that can leave terms out."""
    values = sum(v.square().sum() for v in function(*inputs))
    first = torch.autograd.grad(values, inputs, create_graph=True)
    along = sum((g * torch.ones_like(g)).sum() for g in first)
    second = torch.autograd.grad(along, inputs, create_graph=True)
    return torch.autograd.grad(sum(g.square().sum() for g in second), inputs)


def test_third_derivatives_are_refused_not_wrong():
    plan, lists, harmonics, senders = convolution(4)
    weights = random(6, len(PATHS) * 4)
    terms = ProductPlan([((0, 1, 2), 0), ((1, 1, 1), 2)], 2, 2, 4)
    species = torch.tensor([0, 1])
    points = EmbeddingPlan(harmonic_polynomials(2), 4.0, 5, 6)
    cases = [
        (lambda y, r, *h: convolve(plan, lists, y, r, h), (harmonics, weights, *senders)),
        (lambda r: embed(points, r, torch.float64), (random(3, 3),)),
        (
            lambda w, *x: multiply(terms, w, species, x),
            (random(2, 2, 4), random(2, 1, 4), random(2, 3, 4)),
        ),
    ]
    for function, inputs in cases:
        with pytest.raises(RuntimeError, match="first and second derivatives"):
            third_derivative(function, inputs)


def test_convolution_in_parts_refuses_second_derivatives():
    plan, lists, harmonics, senders = convolution(4)
    basis, matrix = random(6, 3), random(3, len(PATHS) * 4).detach()
    out = convolve_in_parts(plan, lists, harmonics, basis, senders, lambda x: x @ matrix)
    (gradient,) = torch.autograd.grad(out[0].square().sum(), basis, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once"):
        torch.autograd.grad(gradient.sum(), basis)


def test_graphs_made_by_hand():
    """Any integer type and stride will do; what would read foreign memory is refused."""
    plan, lists, harmonics, senders = convolution(4)
    weights = random(6, len(PATHS) * 4)
    expected = convolve(plan, lists, harmonics, weights, senders)
    pairs = torch.stack([CENTER, NEIGHBOR], dim=1).int()
    made = EdgeLists.of(pairs[:, 0], pairs[:, 1], 4, torch.float64)
    torch.testing.assert_close(convolve(plan, made, harmonics, weights, senders), expected)
    for center, neighbor in [
        (CENTER.flip(0), NEIGHBOR),
        (CENTER, NEIGHBOR + 3),
        (CENTER - 1, NEIGHBOR),
    ]:
        with pytest.raises(GeometryError, match="sorted by center"):
            EdgeLists.of(center, neighbor, 4, torch.float64)


def test_embedding():
    plan = EmbeddingPlan(harmonic_polynomials(3), 4.0, 5, 6)
    vectors = random(7, 3)

    def run(r):
        return embed(plan, r, torch.float64)

    assert gradcheck(run, (vectors,))
    assert gradgradcheck(run, (vectors,))


@pytest.mark.parametrize("channels", [1, 4])
def test_product(channels):
    terms = [((0,), 0), ((2,), 2), ((0, 0), 0), ((0, 3), 3), ((1, 2), 1), ((0, 1, 2), 0)]
    terms += [((2, 2, 2), 1), ((0, 1, 1), 2), ((0, 1, 3), 3), ((3, 3, 3), 0), ((3, 3, 3), 2)]
    plan = ProductPlan(terms, 2, 2, channels)
    species = torch.tensor([0, 1, 1, 0, 1])
    inputs = (random(2, len(terms), channels), random(5, 1, channels), random(5, 3, channels))

    def run(w, *x):
        return tuple(multiply(plan, w, species, x))

    assert gradcheck(run, inputs)
    assert gradgradcheck(run, inputs)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing_but_rounding(threads):
    plan, lists, harmonics, senders = convolution(4)
    weights = random(6, len(PATHS) * 4)
    expected = convolve(plan, lists, harmonics, weights, senders)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        lists = EdgeLists.of(CENTER, NEIGHBOR, 4, torch.float64)
        found = convolve(plan, lists, harmonics, weights, senders)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)
