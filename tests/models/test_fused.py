"""The fused call gives what torch gives, for every network that it does not refuse by name."""

import copy
import itertools
import logging
import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from tlpot.calculators import FragmentCalculator, TLPotCalculator
from tlpot.energy import evaluate, hessian
from tlpot.errors import GeometryError, KernelError, UnknownElementError
from tlpot.graph import build_graph
from tlpot.kernels import fused as fused_kernels
from tlpot.models import (
    CorrectionInfo,
    DeltaPotential,
    Ensemble,
    LinearCorrection,
    Potential,
    feature_blocks,
    preset,
)
from tlpot.models import fused as fused_models
from tlpot.structures import build_peptide
from tlpot.system import System

ELEMENTS = (1, 6, 7, 8)
E0 = {1: -13.5, 6: -1029.25, 7: -1485.5, 8: -2041.75}
BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-6}

pytestmark = pytest.mark.usefixtures("compiled_kernels", "one_thread")


def network(kernels, name="tiny", *, dtype=torch.float64, seed=0, **changes):
    """Frozen, with random weights that are the same in both precisions."""
    architecture = preset(name, ELEMENTS, **changes)
    made = Potential.create(
        architecture, {"a": E0}, seed=seed, dtype=torch.float32, kernels=kernels
    )
    return made.to(dtype).requires_grad_(False)


def rattled(name, seed=0):
    atoms = molecule(name)
    atoms.rattle(0.05, seed=seed)
    return atoms


def crystal():
    """Triclinic, with a cell shorter than the cutoff: atoms that are neighbours of themselves."""
    cell = [[3.3, 0, 0], [0.8, 3.5, 0], [0.5, -0.7, 4.2]]
    places = [[0.1, 0.2, 0.3], [0.6, 0.5, 0.4], [0.3, 0.8, 0.9]]
    return Atoms("CON", scaled_positions=places, cell=cell, pbc=True)


def slab():
    cell = [[2.9, 0, 0], [0.9, 3.1, 0], [0, 0, 14.0]]
    positions = [[0, 0, 5.0], [1.4, 1.2, 5.6], [0.2, 0.1, 6.1]]
    return Atoms("CNH", positions=positions, cell=cell, pbc=(True, True, False))


def chain():
    cell = np.diag([2.6, 0.0, 0.0])
    return Atoms("CO", positions=[[0, 0, 0], [1.2, 0.4, 0.3]], cell=cell, pbc=(True, False, False))


MOLECULES = (rattled("CH3CONH2"), rattled("H2O"), Atoms("O"), rattled("C2H6CHOH"))
STRANGERS = Atoms("CH", positions=[[0, 0, 0], [0, 0, 20.0]])


def graph_of(potential, *structures):
    return build_graph(
        [System.from_atoms(a) for a in structures], potential.cutoff, layout=potential.layout
    )


def expect_the_same(found, expected, dtype, bound=None):
    bound = BOUNDS[dtype] if bound is None else bound
    for name in ("energies", "energy", "forces", "stress", "domain"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            assert ours.dtype is theirs.dtype
            error = float((ours - theirs).norm())
            assert error <= bound * float(theirs.norm()) + 1e-14, name


def compare(structures, dtype, name="tiny", *, stress=False, bound=None, **changes):
    """Evaluates by both ways, by torch in double precision, so that rounding counts once."""
    results = []
    for kernels, precision in (("fused", dtype), ("compiled", torch.float64)):
        potential = network(kernels, name, dtype=precision, **changes)
        graph = graph_of(potential, *structures)
        results.append(evaluate(potential.at(), graph, stress=stress))
    expect_the_same(*results, dtype, bound)


@pytest.mark.parametrize("dtype", list(BOUNDS), ids=str)
@pytest.mark.parametrize("name", ["tiny", "small", "medium"])
def test_presets_agree_with_torch(name, dtype):
    compare(MOLECULES, dtype, name)


@pytest.mark.parametrize("dtype", list(BOUNDS), ids=str)
@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize("l_max", [1, 2, 3])
def test_architectures_agree_with_torch(l_max, n_layers, dtype):
    """Body orders, degrees between layers, radial networks; widths that fill no register."""
    # deep networks of random weights lose a digit, by whatever way
    bound = (2.0 if n_layers == 3 else 1.0) * BOUNDS[dtype]
    irreps = ["5x0e", "12x0e+12x1o", "20x0e+20x1o+20x2e"][:l_max]
    for hidden, correlation in itertools.product(irreps, (1, 2, 3)):
        radial = [(), (5,), (6, 7, 9)][(correlation + len(hidden)) % 3]
        compare(
            MOLECULES[:2], dtype, bound=bound,
            l_max=l_max, n_layers=n_layers, correlation=correlation, hidden_irreps=hidden,
            radial_hidden=radial, n_basis=5, readout_hidden=5, n_species=3,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", list(BOUNDS), ids=str)
@pytest.mark.parametrize("zbl", [False, True])
@pytest.mark.parametrize("shape", [crystal, slab, chain])
def test_periodic_cells_agree_with_torch(shape, zbl, dtype):
    compare([shape()], dtype, stress=shape is not chain, zbl=zbl)


def test_structures_of_a_batch_are_evaluated_as_if_alone():
    potential = network("fused", zbl=True)
    structures = [*MOLECULES, crystal(), STRANGERS, chain()]
    together = evaluate(potential.at(), graph_of(potential, *structures), stress=True)
    alone = [
        evaluate(potential.at(), graph_of(potential, a), stress=a.pbc.all()) for a in structures
    ]
    torch.testing.assert_close(together.forces, torch.cat([f.forces for f in alone]))
    torch.testing.assert_close(together.energy, torch.cat([f.energy for f in alone]))
    torch.testing.assert_close(together.stress[4], alone[4].stress[0])
    assert together.stress[:4].abs().max() == 0.0


@pytest.mark.parametrize("atoms", [Atoms("N"), STRANGERS], ids=["one atom", "no pairs"])
def test_without_pairs_there_are_references_and_no_forces(atoms):
    potential = network("fused", zbl=True)
    found = evaluate(potential.at(), graph_of(potential, atoms))
    assert found.energies.tolist() == [E0[z] for z in atoms.numbers]
    assert not found.forces.any()


def test_weights_need_not_be_held_for_all_pairs(monkeypatch):
    monkeypatch.setattr(fused_kernels, "MOST_KEPT", 0)
    compare([*MOLECULES, crystal()], torch.float64, n_layers=3)


@pytest.mark.parametrize("kept", [0, 1 << 21])
def test_threads_share_the_work(kept, monkeypatch):
    monkeypatch.setattr(fused_kernels, "MOST_KEPT", kept)
    torch.set_num_threads(3)
    compare([*MOLECULES, crystal()] * 7, torch.float64, n_layers=3, radial_hidden=(6, 7, 9))


def test_along_a_trajectory_pairs_come_and_go():
    atoms = rattled("C2H6CHOH")
    both = [TLPotCalculator(network(k, dtype=torch.float64)) for k in ("fused", "compiled")]
    rng, seen = np.random.default_rng(0), set()
    for _ in range(12):
        atoms.positions += rng.normal(0.0, 0.15, atoms.positions.shape)
        ours, theirs = (calculator.get_forces(atoms) for calculator in both)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())
        seen.add(graph_of(network("fused"), atoms).n_edges)
    assert len(seen) > 2


def test_unsorted_neighbours_are_found():
    potential = network("fused")
    graph = graph_of(potential, MOLECULES[0])
    mixed = torch.from_numpy(np.random.default_rng(0).permutation(graph.n_edges))
    mixed = mixed[graph.center[mixed].argsort(stable=True)]
    shuffled = replace(graph, center=graph.center[mixed], neighbor=graph.neighbor[mixed])
    assert not torch.equal(shuffled.neighbor, graph.neighbor)
    expect_the_same(
        evaluate(potential.at(), shuffled), evaluate(potential.at(), graph), torch.float64
    )


def test_training_goes_on_and_the_weights_are_read_again():
    potential, reference = network("fused"), network("compiled")
    graph = graph_of(potential, *MOLECULES)
    first = evaluate(potential.at(), graph)
    for each in (potential, reference):
        each.requires_grad_(True)
        optimizer = torch.optim.Adam(each.parameters(), lr=1e-2)
        for _ in range(3):
            optimizer.zero_grad()
            found = evaluate(each.at(), graph, create_graph=True)
            (found.energy.square().mean() * 1e-6 + found.forces.square().mean()).backward()
            optimizer.step()
        each.requires_grad_(False)
    assert all(map(torch.equal, potential.parameters(), reference.parameters()))
    expected, found = (evaluate(each.at(), graph) for each in (reference, potential))
    expect_the_same(found, expected, torch.float64)
    assert (found.forces - first.forces).abs().max() > 1e-3


@pytest.mark.parametrize("change", ["in place", "parameter", "references", "loaded", "cast"])
def test_any_change_of_weights_is_seen(change):
    potential = network("fused", zbl=True)
    graph, mix = (
        graph_of(potential, *MOLECULES),
        potential.backbone.interactions[1].convolution.mix[0],
    )
    evaluate(potential.at(), graph)
    if change == "in place":
        mix.weight.mul_(1.5)
    elif change == "parameter":
        mix.weight = torch.nn.Parameter(1.5 * mix.weight, requires_grad=False)
    elif change == "references":
        potential.head("a").references.value = potential.head("a").references.value + 1.0
    elif change == "loaded":
        potential.load_state_dict(network("fused", zbl=True, seed=5).state_dict())
    else:
        potential.to(torch.float32)
    expected = network("compiled", zbl=True, dtype=potential.dtype)
    expected.load_state_dict(potential.state_dict())
    dtype = potential.dtype
    expect_the_same(evaluate(potential.at(), graph), evaluate(expected.at(), graph), dtype)


@pytest.mark.fault
@pytest.mark.parametrize("kernels", ["fused", "compiled"])
def test_weights_replaced_twice_are_seen(kernels):
    """New weights that came to lie where the old ones had been were taken for these."""
    potential = network(kernels)
    graph, weight = (
        graph_of(potential, *MOLECULES),
        potential.backbone.interactions[1].product.weights.weight,
    )
    before, address = evaluate(potential.at(), graph), weight.data_ptr()
    new = 1.5 * weight
    for _ in range(100):
        weight.data = new.clone()
        if weight.data_ptr() == address:
            break
    assert (evaluate(potential.at(), graph).forces - before.forces).abs().max() > 1e-3


@pytest.mark.parametrize("kernels", ["fused", "compiled"])
def test_changes_that_torch_does_not_count_can_be_told(kernels):
    potential = network(kernels)
    graph = graph_of(potential, *MOLECULES)
    evaluate(potential.at(), graph)
    for weight in potential.parameters():
        weight.data.mul_(1.1)
    torch.autograd.graph.increment_version(list(potential.parameters()))
    expected = network("torch")
    expected.load_state_dict(potential.state_dict())
    found = evaluate(potential.at(), graph)
    expect_the_same(found, evaluate(expected.at(), graph), torch.float64)


def test_weights_that_are_trained_stay_with_torch(monkeypatch):
    potential = network("auto").requires_grad_(True)
    monkeypatch.setattr(fused_models, "FusedNetwork", None)  # must not be made
    assert evaluate(potential.at(), graph_of(potential, *MOLECULES)).forces is not None


def corrected():
    potential = network("fused")
    width = sum(feature_blocks(potential.architecture).values())
    info = CorrectionInfo(kind="linear", blocks=tuple(feature_blocks(potential.architecture)))
    weights = np.random.default_rng(0).normal(size=(len(ELEMENTS), width))
    potential.head("a").corrections.append(LinearCorrection.fitted(info, weights))
    return potential.requires_grad_(False)


REFUSED = {
    "charge": lambda: network("fused", charge_spin=True),
    "corrections": corrected,
}


@pytest.mark.parametrize("term", list(REFUSED))
def test_what_it_does_not_know_is_refused_by_name(term, caplog):
    potential = REFUSED[term]()
    graph = graph_of(potential, MOLECULES[1])
    with pytest.raises(KernelError, match=term):
        evaluate(potential.at(), graph)
    potential.backbone.edges.kernels = replace(potential.backbone.edges.kernels, name="auto")
    fused_models._log.cache_clear()
    with caplog.at_level(logging.INFO, logger="tlpot"):
        for _ in range(2):
            assert evaluate(potential.at(), graph).forces is not None
    assert [term in record.message for record in caplog.records] == [True]


def test_degrees_beyond_three_are_refused():
    with pytest.raises(KernelError, match="degree"):
        evaluate(network("fused", l_max=4).at(), build_graph([System.from_atoms(Atoms("O"))], 4.5))


def test_a_pair_in_one_direction_only_is_left_to_torch():
    for kernels in ("auto", "fused"):
        potential = network(kernels)
        graph = graph_of(potential, MOLECULES[1])
        half = graph.center < graph.neighbor
        one_way = replace(graph, center=graph.center[half], neighbor=graph.neighbor[half])
        if kernels == "auto":
            expected = evaluate(network("compiled").at(), one_way)
            assert torch.equal(evaluate(potential.at(), one_way).forces, expected.forces)
        else:
            with pytest.raises(KernelError, match="one direction"):
                evaluate(potential.at(), one_way)


def test_mistakes_of_the_user_are_named_as_ever():
    potential = network("fused")
    with pytest.raises(UnknownElementError, match="Cu"):
        evaluate(potential.at(), graph_of(potential, Atoms("Cu")))
    ion = Atoms("O", info={"charge": 1, "spin": 2})
    with pytest.raises(GeometryError, match="charge"):
        evaluate(potential.at(), graph_of(potential, ion))
    with pytest.raises(GeometryError, match="stress"):
        evaluate(potential.at(), graph_of(potential, MOLECULES[1]), stress=True)


def test_a_result_that_differs_from_torch_is_not_used(monkeypatch):
    weights = fused_models.network_weights
    monkeypatch.setattr(
        fused_models, "network_weights", lambda *args: replace(weights(*args), scale=1.001)
    )
    potential, expected = network("auto"), network("compiled")
    graph = graph_of(potential, *MOLECULES)
    with pytest.warns(UserWarning, match="differs from torch"):
        found = evaluate(potential.at(), graph)
    assert torch.equal(found.forces, evaluate(expected.at(), graph).forces)


def test_hessians_ensembles_and_sums_agree_with_torch():
    def models(kernels):
        parts = [network(kernels, seed=k) for k in range(2)]
        none = {"high - a": dict.fromkeys(ELEMENTS, 0.0)}
        delta = Potential.create(parts[1].architecture, none, seed=3, kernels=kernels)
        delta = delta.double().requires_grad_(False)
        return parts[0].at(), Ensemble(parts).at(), DeltaPotential(parts[0], delta).at()

    both = list(zip(models("fused"), models("compiled"), strict=True))
    for ours, theirs in both:
        graph = graph_of(ours.potential, *MOLECULES)
        expect_the_same(evaluate(ours, graph), evaluate(theirs, graph), torch.float64)
    ours, theirs = both[0]
    graph = graph_of(ours.potential, MOLECULES[1])
    torch.testing.assert_close(hessian(ours, graph), hessian(theirs, graph))
    spreads = [m.predict(graph, forces_std=True)[1] for m in both[1]]
    torch.testing.assert_close(spreads[0].forces_std, spreads[1].forces_std)


@pytest.mark.parametrize(("name", "level"), [("tlpot-tiny", None), ("tlpot-fragments", "gfn2-xtb")])
def test_shipped_models_agree_with_torch_in_every_result(name, level):
    """Domain and uncertainty, too, where they have them."""
    atoms = rattled("CH3CONH2")
    both = [
        TLPotCalculator(name, level=level, device="cpu", kernels=k) for k in ("fused", "compiled")
    ]
    for calculator in both:
        calculator.get_forces(atoms)
    ours, theirs = (calculator.results for calculator in both)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, rtol=2e-6, atol=2e-6 * np.abs(value).max())


def test_fragments_agree_with_torch():
    atoms = build_peptide("GA")
    both = [
        FragmentCalculator(atoms, high=network(kernels), scheme="mfcc_mbe2")
        for kernels in ("fused", "compiled")
    ]
    ours, theirs = (calculator.get_forces(atoms) for calculator in both)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 * np.abs(theirs).max())


def test_copies_and_pickles_serve_again():
    potential = network("fused")
    graph = graph_of(potential, *MOLECULES)
    expected = evaluate(potential.at(), graph).forces
    for again in (copy.deepcopy(potential), pickle.loads(pickle.dumps(potential))):
        assert torch.equal(evaluate(again.at(), graph).forces, expected)


def test_several_threads_may_call_at_once():
    potential = network("fused")
    graphs = [graph_of(potential, a) for a in (MOLECULES[0], MOLECULES[3])]
    expected = [evaluate(potential.at(), g).forces for g in graphs]
    wrong = []

    def work(k):
        for _ in range(50):
            if not torch.equal(evaluate(potential.at(), graphs[k]).forces, expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k % 2,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
