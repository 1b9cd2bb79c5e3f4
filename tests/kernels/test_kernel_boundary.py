"""What crosses from Python to C: tensors, structures, threads, processes."""

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tlpot.errors import KernelError
from tlpot.kernels import (
    ConvolutionPlan,
    EdgeLists,
    EmbeddingPlan,
    Kernels,
    ProductPlan,
    choice,
    convolve,
    convolve_in_parts,
    embed,
    multiply,
    structures,
    sum_by_element,
    sum_by_element_in_parts,
)
from tlpot.kernels.build import library
from tlpot.nn.couplings import harmonic_polynomials

PATHS = [(0, 0, 0), (1, 1, 0), (1, 0, 1), (2, 1, 1)]
CENTER = torch.tensor([0, 0, 1, 1, 1, 3])
NEIGHBOR = torch.tensor([1, 2, 0, 2, 3, 1])
SPECIES = torch.tensor([1, 0, 2, 0])
TERMS = [((0,), 0), ((2,), 2), ((0, 3), 3), ((0, 1, 2), 0)]
CONVOLUTION = ConvolutionPlan(PATHS, np.random.default_rng(0).normal(size=(9, 16)), 8)
PRODUCT = ProductPlan(TERMS, 2, 2, 8)
EMBEDDING = EmbeddingPlan(harmonic_polynomials(2), 4.0, 5, 6)
MATRIX = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 32)))


def random(*shape, seed=0):
    values = np.random.default_rng([seed, *shape]).normal(size=shape)
    return torch.from_numpy(values).requires_grad_(True)


def lists(center=CENTER, neighbor=NEIGHBOR, n_atoms=4):
    return EdgeLists.of(center, neighbor, n_atoms, torch.float64)


def network(x):
    return torch.tanh(x @ MATRIX)


def turned_network(x):
    """The same values, with columns where rows should be."""
    return network(x).mT.contiguous().mT


def cases(edges, species, net=network):
    """Every public sum, as a function and its inputs."""
    n, e = edges.n_atoms, edges.n_edges
    senders = [random(n, 1, 8), random(n, 3, 8)]
    return {
        "convolve": (
            lambda y, r, *h: convolve(CONVOLUTION, edges, y, r, h),
            [random(e, 9), random(e, 32), *senders],
        ),
        "convolve_in_parts": (
            lambda y, r, *h: convolve_in_parts(CONVOLUTION, edges, y, r, h, net),
            [random(e, 9), random(e, 3), *senders],
        ),
        "sum_by_element": (
            lambda a, b: [sum_by_element(edges, species, 3, a, b)],
            [random(e, 4), random(e, 8)],
        ),
        "sum_by_element_in_parts": (
            lambda a, b: [sum_by_element_in_parts(edges, species, 3, a, b, net)],
            [random(e, 4), random(e, 3)],
        ),
        "multiply": (
            lambda w, *x: multiply(PRODUCT, w, species, x),
            [random(3, 4, 8), *senders],
        ),
        "embed": (lambda r: embed(EMBEDDING, r, torch.float64), [random(e, 3)]),
    }


NAMES = list(cases(lists(), SPECIES))


def derivatives(function, inputs, order):
    """Values, gradients and, of order 2, gradients of these."""
    values = function(*inputs)
    total = sum(v.square().sum() for v in values)
    first = torch.autograd.grad(total, inputs, create_graph=order == 2)
    if order == 1:
        return [*values, *first]
    second = torch.autograd.grad(
        sum(g.square().sum() for g in first), inputs, materialize_grads=True
    )
    return [*values, *first, *second]


def order_of(name):
    return 1 if "in_parts" in name else 2


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


FREE = {  # what nothing else prescribes: place of the input, and what of it
    "convolve": (),
    "convolve_in_parts": ((1, "columns"),),
    "sum_by_element": ((0, "columns"), (1, "columns")),
    "sum_by_element_in_parts": ((0, "columns"), (1, "columns")),
    "multiply": ((0, "rows"),),
    "embed": ((0, "precision"), (0, "rows")),
}
MISFITS = [
    (name, place, fault)
    for name, (_, inputs) in cases(lists(), SPECIES).items()
    for place in range(len(inputs))
    for fault in ("precision", "rows", "columns", "device")
    if (place, fault) not in FREE[name]
]


@pytest.mark.parametrize(("name", "place", "fault"), MISFITS)
def test_a_tensor_that_does_not_fit_never_reaches_c(name, place, fault):
    function, inputs = cases(lists(), SPECIES)[name]
    x = inputs[place].detach()
    wrong = {
        "precision": x.float(),
        "rows": torch.cat([x, x]),
        "columns": x[..., :-1],
        "device": x.to("meta"),
    }[fault]
    with pytest.raises(ValueError, match="the compiled kernels need"):
        function(*inputs[:place], wrong, *inputs[place + 1 :])


@pytest.mark.parametrize("name", ["convolve", "convolve_in_parts", "multiply"])
def test_a_degree_too_few_or_too_many_is_refused(name):
    function, inputs = cases(lists(), SPECIES)[name]
    for given in (inputs[:-1], [*inputs, random(4, 5, 8)]):
        with pytest.raises(ValueError, match="degree"):
            function(*given)


@pytest.mark.parametrize("name", ["sum_by_element", "sum_by_element_in_parts", "multiply"])
@pytest.mark.parametrize(
    ("species", "message"),
    [
        (torch.tensor([0, 1, 3, 0]), "that of atom 2 is 3"),
        (torch.tensor([0, -1, 1, 0]), "that of atom 1 is -1"),
        (torch.tensor([0, 1, 2**40, 0]), "atom 2"),
        (SPECIES.int(), "int64"),
        (torch.tensor([0, 1, 2, 0, 1]), r"\[4\]|\[5, 1, 8\]"),
    ],
)
def test_species_that_would_read_foreign_memory_are_refused(name, species, message):
    function, inputs = cases(lists(), species)[name]
    with pytest.raises(ValueError, match=message):
        function(*inputs)


def test_species_that_do_not_lie_in_one_piece_are_read_right():
    strided = torch.stack([SPECIES, SPECIES + 100], dim=1)[:, 0]
    for name in ("sum_by_element", "multiply"):
        function, inputs = cases(lists(), SPECIES)[name]
        other, _ = cases(lists(), strided)[name]
        assert all(map(torch.equal, other(*inputs), function(*inputs)))


def test_pairs_of_two_lengths_or_broken_numbers_are_refused():
    for center, neighbor in [
        (CENTER, NEIGHBOR[:-1]),
        (CENTER, NEIGHBOR.double()),
        (CENTER.view(2, 3), NEIGHBOR.view(2, 3)),
        (CENTER.to("meta"), NEIGHBOR),
    ]:
        with pytest.raises(ValueError, match=r"center|neighbor|integers"):
            lists(center, neighbor)


def test_plans_that_c_has_no_room_for():
    with pytest.raises(ValueError, match="64 radial functions"):
        EmbeddingPlan(harmonic_polynomials(2), 4.0, 65, 6)
    with pytest.raises(ValueError, match="couplings"):
        ConvolutionPlan(PATHS, np.ones((9, 15)), 8)
    for term in (((4,), 0), ((0, -1), 0), ((0,), 4)):
        with pytest.raises(ValueError, match="index"):
            ProductPlan([term], 2, 2, 8)
    # a network of degree 4 has such a plan, and leaves it to torch
    large = ProductPlan([((0,), 0)], 5, 5, 8)
    inputs = [random(4, 2 * l + 1, 8) for l in range(5)]
    with pytest.raises(ValueError, match="degree"):
        multiply(large, random(3, 1, 8), SPECIES, inputs)


@pytest.mark.parametrize("name", ["convolve_in_parts", "sum_by_element_in_parts"])
@pytest.mark.parametrize("part", [1, 10**6])
def test_a_network_may_return_what_is_not_contiguous(monkeypatch, name, part):
    monkeypatch.setattr("tlpot.kernels.convolution.PART", part)
    function, inputs = cases(lists(), SPECIES)[name]
    turned, _ = cases(lists(), SPECIES, turned_network)[name]
    expected, found = derivatives(function, inputs, 1), derivatives(turned, inputs, 1)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("name", ["convolve_in_parts", "sum_by_element_in_parts"])
def test_a_network_of_another_size_or_precision_is_refused(name):
    for net in (lambda x: network(x).float(), lambda x: torch.cat([network(x)] * 2)):
        function, inputs = cases(lists(), SPECIES, net)[name]
        with pytest.raises(ValueError, match="the compiled kernels need"):
            function(*inputs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_atoms", [0, 1, 3])
def test_no_atoms_and_no_pairs(name, n_atoms):
    """Sums over nothing are exactly zero, and so are all their derivatives."""
    edges = lists(CENTER[:0], NEIGHBOR[:0], n_atoms)
    function, inputs = cases(edges, SPECIES[:n_atoms])[name]
    found = derivatives(function, inputs, order_of(name))
    assert all(x.isfinite().all() for x in found)
    if name != "multiply":
        assert not any(x.any() for x in found)
    expected = [x.shape for x in inputs]
    assert [x.shape for x in found[-len(inputs) :]] == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_nan_stays_where_it_is_and_is_not_hidden(name):
    function, inputs = cases(lists(), SPECIES)[name]
    expected = function(*inputs)
    spoilt = [x.detach().clone() for x in inputs]
    # the last atom's only edge, or its features
    spoilt[1 if name == "multiply" else 0][-1] = torch.nan
    for before, after in zip(expected, function(*spoilt), strict=True):
        assert torch.equal(before[:-1], after[:-1])
    assert any(x[-1].isnan().any() for x in function(*spoilt))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_that_are_not_contiguous(name):
    """Expanded, transposed and cut gradients: as from sums, transposes and slices."""
    function, inputs = cases(lists(), SPECIES)[name]
    values = function(*inputs)
    weights = [torch.randn_like(v) for v in values]
    plain = torch.autograd.grad(values, inputs, weights, retain_graph=True)
    turned = [w.mT.contiguous().mT for w in weights]
    cut = [torch.stack([w, w + 1], dim=-1)[..., 0] for w in weights]
    for other in (turned, cut):
        found = torch.autograd.grad(values, inputs, other, retain_graph=True)
        assert all(map(torch.equal, found, plain))
    ones = torch.autograd.grad(values, inputs, [torch.ones_like(v) for v in values], True)
    found = torch.autograd.grad(sum(v.sum() for v in values), inputs)
    assert all(map(torch.equal, found, ones))


def test_batched_gradients_are_refused_not_wrong():
    for name in NAMES:
        function, inputs = cases(lists(), SPECIES)[name]
        value = function(*inputs)[0]
        batch = torch.ones(2, *value.shape, dtype=value.dtype)
        with pytest.raises(RuntimeError):
            torch.autograd.grad(value, inputs, batch, is_grads_batched=True)


def test_offsets_beyond_32_bits():
    """Weights of 2³¹ numbers and more, of which only the last edge's are ever touched."""
    c, n_edges = 1 << 20, (1 << 11) + 1
    plan = ConvolutionPlan([(0, 0, 0)], np.ones((1, 1)), c)
    edges = SimpleNamespace(
        **{name: getattr(lists(), name) for name in ("order", "dtype", "n_threads")},
        center=torch.zeros(n_edges, dtype=torch.int64),
        neighbor=torch.zeros(n_edges, dtype=torch.int64),
        first=torch.tensor([n_edges - 1, n_edges]),
        into=torch.tensor([0, 0]),
        **{"n_atoms": 1, "n_nodes": 1, "n_edges": n_edges},
    )
    try:
        weights = torch.empty(n_edges, c)
    except RuntimeError:
        pytest.skip("this machine does not promise memory that is not there")
    weights[-1] = torch.arange(c)
    harmonics = torch.full((n_edges, 1), 2.0)
    (out,) = convolve(plan, edges, harmonics, weights, [torch.full((1, 1, c), 3.0)])
    assert torch.equal(out.view(-1), 6.0 * torch.arange(c))


@pytest.mark.parametrize("name", NAMES)
def test_threads_changed_on_the_way_back_change_nothing(name, threads):
    threads(3)
    function, inputs = cases(lists(), SPECIES)[name]
    expected = derivatives(function, inputs, order_of(name))
    values = function(*inputs)
    total = sum(v.square().sum() for v in values)
    threads(1)
    first = torch.autograd.grad(total, inputs, create_graph=True)
    assert all(map(torch.equal, first, expected[len(values) :]))


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_threads_is_read_once(monkeypatch, name):
    read = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: read.append(1) or 2)
    function, inputs = cases(lists(), SPECIES)[name]
    derivatives(function, inputs, order_of(name))
    assert len(read) == (1 if name not in ("embed", "multiply") else 2)  # with that of the lists


def test_several_python_threads_at_once(threads):
    threads(2)
    every = cases(lists(), SPECIES)

    def work(name):
        function, inputs = every[name]
        inputs = [x.detach().clone().requires_grad_(True) for x in inputs]
        return derivatives(function, inputs, order_of(name))

    expected = {name: work(name) for name in NAMES}
    with ThreadPoolExecutor(4) as pool:
        for name, found in zip(NAMES * 10, pool.map(work, NAMES * 10), strict=True):
            assert all(map(torch.equal, found, expected[name]))


FORK = """
import os, signal, torch
from tlpot.kernels import EmbeddingPlan, embed
from tlpot.nn.couplings import harmonic_polynomials
torch.set_num_threads(2)
plan = EmbeddingPlan(harmonic_polynomials(2), 4.0, 5, 6)
vectors = torch.ones(50, 3, dtype=torch.float64)
before = embed(plan, vectors, torch.float64)
child = os.fork()
if child == 0:
    signal.alarm(60)
    after = embed(plan, vectors, torch.float64)
    os._exit(0 if torch.equal(before[0], after[0]) else 3)
raise SystemExit(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_does_not_wait_for_threads_that_are_gone():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def changed(structure, fields):
    return type(structure.__name__, (ctypes.Structure,), {"_fields_": fields})


FIELDS = list(structures.ElementData._fields_)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([*FIELDS, ("more", ctypes.c_int64)], r"ElementData: 96 and 104 bytes, 12 and 13 fields"),
        (FIELDS[:-1], r"ElementData: 96 and 88 bytes, 12 and 11 fields"),
        ([("n_atoms", ctypes.c_int32), *FIELDS[1:]], r"96 and 96 bytes.*n_atoms"),
    ],
)
def test_a_structure_that_python_and_c_lay_out_differently(monkeypatch, fields, message):
    other = changed(structures.ElementData, fields)
    pair = structures.ElementTables, other
    monkeypatch.setitem(structures._UNITS, "elements.cpp", (pair, (), ()))
    with pytest.raises(KernelError, match=message):
        structures.declare(library(torch.float64))


def test_a_library_that_is_another_program_is_refused():
    with pytest.raises(KernelError, match="not that of this tlpot"):
        structures.declare(ctypes.CDLL(None))


def test_a_library_of_other_structures_leaves_the_work_to_torch(monkeypatch):
    other = changed(structures.ElementTables, FIELDS[:1])
    monkeypatch.setitem(structures._UNITS, "elements.cpp", ((other,), (), ()))
    monkeypatch.setattr(choice, "check", lambda dtype: None)
    monkeypatch.setattr(choice, "library", lambda dtype: structures.declare(library(dtype)))
    choice._failure.cache_clear()
    try:
        with pytest.warns(UserWarning, match="ElementTables: 24 and 8 bytes"):
            assert not Kernels().compiled(torch.device("cpu"), torch.float32, 2)
        with pytest.raises(KernelError, match="ElementTables"):
            Kernels(name="compiled").compiled(torch.device("cpu"), torch.float32, 2)
    finally:
        choice._failure.cache_clear()


def test_the_arguments_of_a_kernel_are_typed():
    tables, data = structures.ElementTables(), structures.ConvolutionData()
    with pytest.raises(ctypes.ArgumentError):
        library(torch.float64).tlpot_sum_by_element(tables, data)
