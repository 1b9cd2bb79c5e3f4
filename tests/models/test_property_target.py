"""Levels of a model that are scalar properties: pooling, symmetry, files, sums and ensembles."""

import json

import numpy as np
import pytest
import safetensors
import torch
from ase.build import bulk, make_supercell
from ase.calculators.calculator import PropertyNotImplementedError
from scipy.spatial.transform import Rotation

import tlpot
from tlpot.energy import ForcesRefusedError, evaluate
from tlpot.errors import ConfigError, UnknownLevelError
from tlpot.graph import build_graph
from tlpot.models import (
    DeltaPotential,
    Ensemble,
    Potential,
    PropertyTarget,
    from_bytes,
    preset,
    to_bytes,
)
from tlpot.system import System
from tlpot.targets import Quantity

ELEMENTS = (11, 14, 17)
SIZES = {
    "hidden_irreps": "8x0e+8x1o", "l_max": 2, "correlation": 2, "n_species": 4,
    "readout_hidden": 4,
}  # fmt: skip
LEVELS = {
    "gap@pbe": PropertyTarget(
        quantity=Quantity(unit="eV", extensive=False), pooling="mean", spread=1.3
    ),
    "hardness@pbe": PropertyTarget(
        quantity=Quantity(unit="GPa", extensive=False, kind="positive"),
        pooling="attention",
        spread=0.7,
    ),
    "metal@pbe": PropertyTarget(
        quantity=Quantity(unit="", extensive=False, kind="yes_no"), pooling="attention", spread=1.0
    ),
    "volume@pbe": PropertyTarget(
        quantity=Quantity(unit="A^3", extensive=True), pooling="sum", spread=2.0
    ),
}


def potential(seed=0, levels=LEVELS) -> Potential:
    references = {name: {11: 0.3, 14: -0.2, 17: 0.6} for name in (*levels, "pbe")}
    return Potential.create(
        preset("tiny", ELEMENTS, **SIZES),
        references,
        seed=seed,
        dtype=torch.float64,
        targets=levels,
    )


def crystal():
    atoms = make_supercell(bulk("NaCl", "rocksalt", a=5.6), np.diag([1, 1, 2]))
    atoms.rattle(0.1, seed=1)
    return atoms


def value(model, level, *structures) -> np.ndarray:
    graph = build_graph([System.from_atoms(a) for a in structures], model.cutoff)
    return evaluate(model.at(level), graph, forces=False).energy.numpy()


@pytest.mark.parametrize("level", LEVELS)
def test_invariance_and_what_a_supercell_gives(level):
    model, atoms = potential(), crystal()
    (first,) = value(model, level, atoms)
    times = 2.0 if LEVELS[level].pooling == "sum" else 1.0
    double = make_supercell(atoms, np.diag([1, 2, 1]))
    turned = atoms.copy()
    turn = Rotation.from_rotvec([0.3, -1.0, 0.8]).as_matrix()
    turned.set_cell(atoms.cell.array @ turn.T)
    turned.positions = atoms.positions @ turn.T + [0.4, 0.1, -2.0]
    mixed = atoms[np.random.default_rng(0).permutation(len(atoms))]
    assert value(model, level, double)[0] == pytest.approx(times * first, rel=1e-9)
    assert value(model, level, turned)[0] == pytest.approx(first, rel=1e-9)
    assert value(model, level, mixed)[0] == pytest.approx(first, rel=1e-9)
    # in a batch as alone
    assert value(model, level, bulk("Si"), atoms)[1] == pytest.approx(first, rel=1e-9)


def test_kinds_stay_in_their_range():
    model = potential()
    assert value(model, "hardness@pbe", crystal())[0] > 0
    assert 0 < value(model, "metal@pbe", crystal())[0] < 1


@pytest.mark.parametrize("level", LEVELS)
def test_a_file_gives_the_same_value_bit_for_bit(level):
    model = potential()
    again = from_bytes(to_bytes(model))
    assert again.target(level) == model.target(level)
    assert value(again, level, crystal()) == value(model, level, crystal())


def test_only_files_with_properties_need_the_newer_format():
    def version(model):
        content = to_bytes(model)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return json.loads(header["__metadata__"]["tlpot-potential"])["format_version"]

    assert safetensors.__version__
    assert version(potential()) == 2
    assert version(potential().only("pbe")) == 1


def test_a_property_has_no_forces():
    model = potential()
    graph = build_graph([System.from_atoms(crystal())], model.cutoff)
    with pytest.raises(ForcesRefusedError, match="property"):
        evaluate(model.at("gap@pbe"), graph)
    assert evaluate(model.at("pbe"), graph).forces is not None


def test_the_calculator_gives_properties_by_name():
    atoms = crystal()
    atoms.calc = tlpot.TLPotCalculator(potential(), level="pbe")
    atoms.get_potential_energy()
    found = atoms.calc.get_property("gap@pbe", atoms)
    assert found == pytest.approx(value(potential(), "gap@pbe", atoms)[0], rel=1e-9)
    atoms.calc = tlpot.TLPotCalculator(potential(), level="gap@pbe")
    assert atoms.calc.get_property("gap@pbe", atoms) == pytest.approx(found)
    assert "energy" not in atoms.calc.implemented_properties


def test_another_property_starts_from_its_composition():
    model = potential()
    target = PropertyTarget(
        quantity=Quantity(unit="J/mol/K", extensive=False), pooling="mean", spread=3.0
    )
    shares = {11: 1.0, 14: 5.0, 17: 3.0}
    grown = model.with_level("heat@x", shares, parent="gap@pbe", target=target)
    assert value(grown, "heat@x", crystal())[0] == pytest.approx(2.0)
    # the same property at another level keeps the readout
    kept = model.with_level(
        "gap@hse06", model.references("gap@pbe"), parent="gap@pbe", target=LEVELS["gap@pbe"]
    )
    assert value(kept, "gap@hse06", crystal()) == value(model, "gap@pbe", crystal())


def test_sums_of_properties():
    low = potential().only("gap@pbe")
    name = "gap@hse06 - gap@pbe"
    delta = potential(seed=1, levels={name: LEVELS["gap@pbe"]}).only(name)
    both = DeltaPotential(low, delta)
    expected = value(low, "gap@pbe", crystal()) + value(delta, name, crystal())
    assert value(both, "gap@hse06", crystal()) == pytest.approx(expected)
    assert value(from_bytes(to_bytes(both)), "gap@hse06", crystal()) == pytest.approx(expected)
    name = "hardness@scan - hardness@pbe"
    odd = potential(seed=1, levels={name: LEVELS["gap@pbe"]}).only(name)
    with pytest.raises(ConfigError, match="add up"):
        DeltaPotential(potential().only("hardness@pbe"), odd)


@pytest.mark.parametrize("level", LEVELS)
def test_ensembles_say_the_same_in_both_ways(level):
    members = [potential(seed) for seed in range(3)]
    ensemble = Ensemble(members)
    graph = build_graph([System.from_atoms(crystal())], ensemble.cutoff)
    plain = evaluate(ensemble.at(level), graph, forces=False).energy
    mean, spread = ensemble.at(level).predict(graph, forces=False)
    torch.testing.assert_close(plain, mean.energy)
    assert float(spread.energy_std) > 0


def test_pooling_has_to_fit_the_property():
    with pytest.raises(ConfigError, match="sum"):
        PropertyTarget(quantity=Quantity(unit="A^3", extensive=True), pooling="mean", spread=1.0)
    with pytest.raises(ConfigError, match="spread"):
        PropertyTarget(quantity=Quantity(unit="eV", extensive=False), pooling="mean", spread=0.0)


def test_features_of_elements_stand_for_those_that_no_training_has_seen(tmp_path):
    from toy_elements import trained_without_bromine

    model, before = trained_without_bromine(tmp_path)
    # no training moves them
    torch.testing.assert_close(model.backbone.species, before)
    again = from_bytes(to_bytes(model))
    crystal_of = {x: bulk(f"Na{x}", "rocksalt", a=5.6) for x in ("Cl", "Br", "F")}
    values = {x: float(value(again, "gap@toy", atoms)[0]) for x, atoms in crystal_of.items()}
    assert values["Br"] != pytest.approx(values["Cl"], abs=1e-4)
    assert all(np.isfinite(v) for v in values.values())
    with pytest.raises(ConfigError, match="n_species"):
        preset("tiny", ELEMENTS, species="elemental", n_species=4)
    with pytest.raises(ConfigError, match="Lr"):
        preset("tiny", (1, 103), species="elemental")


@pytest.mark.fault
def test_a_calculator_of_properties_needs_no_level():
    """As files of frozen strategies, which keep the parent's property, and of mixed trainings."""
    names = ("gap@pbe", "gap@hse06")
    target = PropertyTarget(
        quantity=Quantity(unit="eV", extensive=False), pooling="mean", spread=1.0
    )

    def model(*energies):
        levels = dict.fromkeys((*names, *energies), dict.fromkeys(ELEMENTS, 0.0))
        architecture = preset("tiny", ELEMENTS, **SIZES)
        return Potential.create(architecture, levels, targets=dict.fromkeys(names, target))

    atoms = crystal()
    for energies in ((), ("hf",)):
        both = model(*energies)
        for name in names:
            expected = tlpot.TLPotCalculator(both, level=name).get_property(name, atoms)
            assert tlpot.TLPotCalculator(both).get_property(name, atoms) == expected
    assert tlpot.TLPotCalculator(model("hf")).level == "hf"
    assert np.isfinite(tlpot.TLPotCalculator(model("hf")).get_potential_energy(atoms))
    with pytest.raises(PropertyNotImplementedError):
        tlpot.TLPotCalculator(model()).get_potential_energy(atoms)
    with pytest.raises(UnknownLevelError, match="level"):
        tlpot.TLPotCalculator(model("hf", "pbe"))
