"""Levels, heads, elements and presets of a potential."""

import copy
import math
import pickle

import pytest
import torch
from ase.build import molecule

from tlpot.energy import EnergyModel, evaluate
from tlpot.errors import ConfigError, GeometryError, UnknownElementError, UnknownLevelError
from tlpot.graph import build_graph
from tlpot.models import Architecture, Potential, load, preset, read_description, save
from tlpot.system import System

E0 = {1: -13.6, 6: -1030.0, 8: -2040.1}


@pytest.fixture
def potential():
    return Potential.create(preset("tiny", (1, 6, 8)), {"low": E0})


@pytest.fixture
def graph():
    return build_graph([System.from_atoms(molecule("CH3OH"))], 4.5)


def energy(potential, graph, level=None):
    return evaluate(potential.at(level), graph).energy.item()


def test_a_level_is_an_energy_model(potential):
    assert isinstance(potential.at("low"), EnergyModel)


def test_a_level_may_be_left_out_only_when_there_is_one(potential, graph):
    assert energy(potential, graph) == energy(potential, graph, "LOW")
    two = potential.with_level("high", E0)
    with pytest.raises(UnknownLevelError, match="2 levels"):
        two.at()
    with pytest.raises(UnknownLevelError, match="did you mean 'high'"):
        two.at("hihg")


def test_a_new_level_inherits_the_readout_and_leaves_the_parent_alone(potential, graph):
    before = energy(potential, graph)
    shifted = {1: E0[1] + 1.0, 6: E0[6], 8: E0[8]}
    two = potential.with_level("high", shifted)
    assert potential.levels == ("low",)
    assert two.levels == ("low", "high")
    assert energy(two, graph, "low") == before
    assert energy(two, graph, "high") == pytest.approx(before + 4.0, abs=1e-9)
    with torch.no_grad():
        two.backbone.species.add_(1.0)
    assert energy(potential, graph) == before


def test_unknown_element_lists_those_known(potential):
    graph = build_graph([System.from_atoms(molecule("NH3"))], 4.5)
    with pytest.raises(UnknownElementError, match=r"does not know N; .* H, C, O"):
        potential.at().atomic_energies(graph)


def test_missing_or_infinite_reference_energy():
    with pytest.raises(ConfigError, match="no reference energy E0 for O"):
        Potential.create(preset("tiny", (1, 8)), {"low": {1: -13.6}})
    for energy in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="no number"):
            Potential.create(preset("tiny", (1,)), {"low": {1: energy}})


def test_a_level_may_know_fewer_elements_than_the_model(tmp_path):
    sizes = preset("tiny", (1, 8, 16), hidden_irreps="4x0e+4x1o", cutoff=3.0)
    levels = {"all": {1: -1.0, 8: -2.0, 16: -3.0}, "few": {1: -1.5, 8: -2.5, 16: float("nan")}}
    save(Potential.create(sizes, levels), tmp_path / "two.safetensors")
    potential = load(tmp_path / "two.safetensors", device="cpu")
    assert potential.at("all").elements == (1, 8, 16)
    assert potential.at("few").elements == (1, 8)
    water = build_graph([System.from_atoms(molecule("H2O"))], 3.0)
    sulfide = build_graph([System.from_atoms(molecule("SH2"))], 3.0)
    for level in levels:
        assert bool(evaluate(potential.at(level), water).energy.isfinite())
    assert bool(evaluate(potential.at("all"), sulfide).energy.isfinite())
    with pytest.raises(UnknownElementError, match=r"'few' .* not of S; .*\(all\)"):
        evaluate(potential.at("few"), sulfide)
    described = read_description(tmp_path / "two.safetensors")
    assert math.isnan(described.references("few")[16])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_irreps": "16x0e+16x1e"}, "natural parity"),
        ({"hidden_irreps": "16x0e+8x1o"}, "one multiplicity"),
        ({"hidden_irreps": "banana"}, "hidden_irreps"),
        ({"l_max": 9}, "l_max"),
        ({"l_max": 1, "hidden_irreps": "4x0e+4x1o+4x2e"}, "beyond l_max"),
        ({"n_species": 0}, "n_species"),
        ({"radial_hidden": (0,)}, "radial_hidden"),
        ({"correlation": 4}, "correlation"),
        ({"cutoff": -1.0}, "cutoff"),
    ],
)
def test_impossible_architectures(changes, message):
    with pytest.raises(ConfigError, match=message):
        preset("tiny", (1,), **changes)
    with pytest.raises(ConfigError, match=r"ZBL repulsion reaches to 1\.14"):
        preset("tiny", (6,), zbl=True, cutoff=1.0)
    with pytest.raises(ConfigError, match="elements"):
        Architecture(elements=(8, 1))
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        preset("tinny", (1,))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("tiny", 40e3, 60e3), ("small", 250e3, 350e3), ("medium", 1e6, 1.5e6)],
)
def test_presets_have_the_stated_size(name, low, high):
    potential = Potential.create(preset(name, (1, 6, 7, 8)), {"low": {**E0, 7: 0.0}})
    assert low <= sum(p.numel() for p in potential.parameters()) <= high


def test_creation_is_seeded_and_leaves_the_global_generator_alone(graph):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    a, b, c = (Potential.create(preset("tiny", (1, 6, 8)), {"low": E0}, seed=s) for s in (1, 1, 2))
    assert torch.rand(1) == expected
    assert energy(a, graph) == energy(b, graph) != energy(c, graph)


def test_copies_and_pickles_agree(potential, graph):
    assert energy(copy.deepcopy(potential), graph) == energy(potential, graph)
    assert energy(pickle.loads(pickle.dumps(potential)), graph) == energy(potential, graph)


def test_charge_and_spin_change_the_energy_only_of_a_model_that_reads_them(graph):
    atoms = molecule("CH3OH")
    atoms.info["charge"] = 1
    charged = build_graph([System.from_atoms(atoms)], 4.5)
    plain = Potential.create(preset("tiny", (1, 6, 8)), {"low": E0})
    assert not plain.at().uses_charge
    with pytest.raises(GeometryError, match=r"neutral singlets") as error:
        energy(plain, charged)
    # the same words must help those who train and those who fine-tune
    assert "data.charges=ignore" in str(error.value)
    assert "imported one that reads charges" in str(error.value)
    reading = Potential.create(preset("tiny", (1, 6, 8), charge_spin=True), {"low": E0})
    assert reading.at().uses_charge
    assert energy(reading, graph) == energy(reading, charged)  # zero start
    with torch.no_grad():
        reading.backbone.charge_spin.fill_(0.1)
    assert energy(reading, graph) != energy(reading, charged)
