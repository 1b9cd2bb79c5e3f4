"""Scores, ranks and files of what a model was trained on."""

import copy
import pickle

import numpy as np
import pytest
import torch
from ase.build import molecule
from parents import ALL_PARENTS, imported_parent
from scipy.stats import binom

from tlpot.data import open_dataset
from tlpot.energy import evaluate
from tlpot.errors import ModelFileError
from tlpot.graph import build_graph
from tlpot.models import (
    LIBRARY,
    WARNING_LEVEL,
    Architecture,
    Potential,
    frame_scores,
    from_bytes,
    load,
    to_bytes,
    weights_hash,
)
from tlpot.models.domain import read_domain
from tlpot.system import System
from tlpot.uncertainty import fit_domain
from tlpot.uncertainty.domain import largest_shares


def graph(model, *names, charge=0):
    systems = []
    for name in names:
        atoms = molecule(name)
        atoms.info["charge"] = charge
        systems.append(System.from_atoms(atoms))
    return build_graph(systems, model.cutoff, layout=model.layout)


def domains(model, *names, **options):
    return evaluate(model, graph(model, *names, **options), domain=True).domain


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(LIBRARY / "tlpot-qm.h5")


@pytest.fixture(scope="module", params=ALL_PARENTS)
def made(request, dataset):
    """A network of random weights that knows some frames of one molecule."""
    none = dict.fromkeys((1, 6, 7, 8), 0.0)
    if request.param == "tlpot":
        architecture = Architecture(
            elements=(1, 6, 7, 8), cutoff=4.0, n_layers=2, hidden_irreps="8x0e+8x1o", l_max=1,
            radial_hidden=(), n_species=4, readout_hidden=4, charge_spin=True, avg_neighbors=5.0,
        )  # fmt: skip
        potential = Potential.create(architecture, {"hf": none}, dtype=torch.float64)
    else:
        potential = imported_parent(request.param, "hf", none).double()
        assert not potential.at().has_domain
    names = list(dataset.group_names)
    frames = np.flatnonzero(dataset.group_idx == names.index("methanol"))
    domain = fit_domain(potential.at(), dataset, frames[::2], frames[1::2])
    potential.head("hf").domain = domain.to(torch.float64)
    return potential


def test_the_molecule_of_the_training_is_inside_and_others_are_not(made):
    found = domains(made.at(), "CH3OH", "C2H6", "CH3CH2OH")
    assert found[0] > 0.05
    assert (found[1:] < 0.05).all()


def test_an_element_without_training_frames_is_outside_at_once(made):
    assert domains(made.at(), "NH3").item() < 1e-12
    assert domains(made.at(), "CH3CONH2", "NH3").max() < 1e-12


def test_a_charge_without_training_frames_is_outside_at_once(made):
    if not made.uses_charge:
        pytest.skip("the model reads no charges, and refuses structures that have one")
    assert domains(made.at(), "CH3OH", charge=1).item() == 0.0
    assert domains(made.at(), "CH3OH").item() > 0.05


def test_one_structure_and_a_batch_agree(made):
    names = ["CH3OH", "C2H6", "H2O"]
    together = domains(made.at(), *names)
    alone = torch.cat([domains(made.at(), name) for name in names])
    torch.testing.assert_close(together, alone, rtol=1e-8, atol=1e-12)


def test_energies_and_forces_are_the_same_with_and_without(made):
    model = made.at()
    both = graph(model, "CH3OH", "H2O")
    plain, with_domain = evaluate(model, both), evaluate(model, both, domain=True)
    assert plain.domain is None
    torch.testing.assert_close(plain.forces, with_domain.forces, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["tlpot-tiny", "tlpot-fragments"])
def test_the_domain_falls_from_1_to_0(name):
    model = load(name, device="cpu")
    domain = model.at(model.levels[0]).training_domain
    held = domain.held_out.value.numpy()
    ranks = np.array([domain._rank(score) for score in held])
    assert (np.diff(ranks) <= 0).all()
    assert 0.99 < ranks[0] <= 1.0
    assert domain._rank(held[0] - 1.0) == 1.0
    beyond = [domain._rank(held[-1] + further) for further in np.linspace(0.0, 30.0, 50)]
    assert beyond[0] == pytest.approx(ranks[-1])
    assert (np.diff(beyond) < 0).all()
    assert beyond[-1] < 1e-6


@pytest.mark.parametrize("n", [46, 74, 200, 1000])
def test_as_many_held_out_frames_are_below_as_a_binomial_test_allows(n):
    """Seeing no more of n than these, a share of above 5 % is excluded with 90 % confidence."""
    as_far = torch.arange(n, 0, -1, dtype=torch.float64)
    below = int((largest_shares(as_far, n) < WARNING_LEVEL).sum())
    assert binom.cdf(below + 1, n, WARNING_LEVEL) > 0.1
    assert below == 0 or binom.cdf(below, n, WARNING_LEVEL) < 0.1
    assert (below > 0) == (n > 76)


def test_frames_of_one_molecule_held_out_as_a_whole_count_once(dataset, made):
    names = list(dataset.group_names)
    one, other = (
        np.flatnonzero(dataset.group_idx == names.index(name)) for name in ("methanol", "water")
    )
    shared = fit_domain(made.at(), dataset, one[::2], one[1::2])
    apart = fit_domain(made.at(), dataset, one[::2], np.concatenate([one[1::2], other]))
    for domain, alike in ((shared, 0), (apart, len(other) - 1)):
        n = domain.n_held_out - alike
        as_far = torch.tensor([n / domain.n_held_out], dtype=torch.float64)
        assert domain.levels.value[-1] == pytest.approx(float(largest_shares(as_far, n)[0]))


def test_false_alarms_are_at_most_one_in_twenty_in_nine_of_ten_drawings():
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(300):
        scores = np.sort(rng.exponential(size=150))
        levels = largest_shares(torch.arange(150, 0, -1, dtype=torch.float64), 150).numpy()
        shares.append(np.exp(-np.interp(-WARNING_LEVEL, -levels, scores)))
    assert 0.85 < np.mean(np.array(shares) <= WARNING_LEVEL) < 0.98


def test_a_file_without_levels_has_conformal_p_values(made):
    old = from_bytes(to_bytes(made))
    head = old.head("hf")
    tensors = head.domain.state_dict()
    tensors.pop("levels.value", None)
    head.domain = read_domain(tensors, "", made.architecture, torch.float64, "m.safetensors")
    again = from_bytes(to_bytes(old)).head("hf").domain
    n = len(again.held_out.value)
    assert again._rank(float(again.held_out.value[-1])) == pytest.approx(2.0 / (n + 1))


def test_levels_that_are_none_are_refused(made):
    domain = made.head("hf").domain
    tensors = {key: tensor.clone() for key, tensor in domain.state_dict().items()}
    tensors["levels.value"][0] = torch.nan
    with pytest.raises(ModelFileError, match="damaged"):
        read_domain(tensors, "", made.architecture, torch.float64, "m.safetensors")


def test_a_lone_atom_far_away_stands_out_among_many():
    near = torch.full((1000,), 0.5)
    far = torch.cat([near, torch.tensor([8.0])])
    index = torch.zeros(1001, dtype=torch.long)
    alone = frame_scores(near, index[:1000], 1)
    assert frame_scores(far, index, 1) > alone + 5.0
    twice = frame_scores(torch.cat([far, near]), torch.arange(2001) // 1001, 2)
    torch.testing.assert_close(twice, torch.cat([frame_scores(far, index, 1), alone]))


def test_it_survives_a_file_and_leaves_the_weights_hash_alone(made):
    again = from_bytes(to_bytes(made))
    torch.testing.assert_close(domains(again.at(), "CH3OH"), domains(made.at(), "CH3OH"))
    assert again.head("hf").domain.content.n_frames == made.head("hf").domain.content.n_frames
    assert weights_hash(again) == weights_hash(made)
    plain = from_bytes(to_bytes(made))
    plain.head("hf").domain = None
    assert weights_hash(plain) == weights_hash(made)
    torch.testing.assert_close(
        domains(made.at(), "CH3OH"),
        domains(from_bytes(to_bytes(made), dtype=torch.float32).at(), "CH3OH"),
        rtol=1e-3, atol=1e-5,
    )  # fmt: skip


def test_a_few_frames_are_enough(dataset, made):
    for train, held in (([0], [1]), ([0, 1, 2], [3])):
        domain = fit_domain(made.at(), dataset, train, held)
        assert domain.n_frames == len(train)
        assert bool(domain.held_out.value.isfinite().all())


def test_the_compiled_kernel_and_torch_agree(made):
    names = ["CH3OH", "C2H6", "NH3", "H2O"]
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-3)):
        both = [from_bytes(to_bytes(made), dtype=dtype, kernels=k) for k in ("auto", "torch")]
        compiled, plain = (domains(model.at(), *names) for model in both)
        assert plain[0] > 0.05
        torch.testing.assert_close(compiled, plain, rtol=tolerance, atol=1e-12)


def test_a_copy_keeps_the_domain(made):
    expected = domains(made.at(), "C2H6")
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        torch.testing.assert_close(domains(again.at(), "C2H6"), expected, rtol=0, atol=0)


def test_features_that_are_no_numbers_are_not_inside(made):
    domain = made.head("hf").domain
    species, system = torch.tensor([0, 1]), torch.zeros(2, dtype=torch.long)
    layers = [torch.zeros((2, 8), dtype=torch.float64) for _ in range(2)]
    layers[1][0, 3] = torch.nan
    state = torch.zeros(1), torch.ones(1)
    for compiled in {False, made.layout == "sorted"}:
        found = domain(layers, species, system, 1, *state, compiled=compiled)
        assert not float(found) >= 0.05
