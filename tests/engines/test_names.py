"""The grammar of engine names: what each means, and that what is misspelt is refused."""

import io
import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tlpot.calculators import (
    CalculatorFactory,
    DeltaCalculator,
    TLPotCalculator,
    energy_model,
    named_calculator,
    named_source,
)
from tlpot.energy import evaluate
from tlpot.engines import EngineSpec, make_engine, parse_engine
from tlpot.errors import ConfigError
from tlpot.graph import build_graph
from tlpot.models import LIBRARY, LevelView, Potential, PropertyTarget, preset, save
from tlpot.system import System
from tlpot.targets import Quantity

SPRING = "ase:label_toys:Spring"


@pytest.mark.parametrize(
    ("text", "kind", "target", "level", "settings"),
    [
        ("gfn2-xtb", "gfn2-xtb", "", None, {}),
        ("GFN2-xTB  max_iterations=2000", "gfn2-xtb", "", None, {"max_iterations": 2000}),
        ("pyscf:wB97X / 6-31G* grid=4", "pyscf", "wB97X / 6-31G*", None, {"grid": 4}),
        ("pyscf:CCSD(T)/CBS(DT)", "pyscf", "CCSD(T)/CBS(DT)", None, {}),
        ("model:a dir/x.safetensors@pbe/a", "model", "a dir/x.safetensors", "pbe/a", {}),
        ("model:x device=cpu", "model", "x", None, {"device": "cpu"}),
        (f"{SPRING}(k=2, cell=[1, 2]) delay=0", "ase", "label_toys:Spring", None,
         {"k": 2, "cell": [1, 2], "delay": 0}),
        ("env:/a b/python ase:m:C(k=2, q='{charge}') timeout=9", "env", "m:C", None,
         {"k": 2, "q": "{charge}", "timeout": 9}),
        ("torch:a dir/x.jpt device=cpu", "torch", "a dir/x.jpt", None, {"device": "cpu"}),
    ],
)  # fmt: skip
def test_a_name_is_taken_apart(text, kind, target, level, settings):
    found = parse_engine(text)
    assert (found.kind, found.target, found.level) == (kind, target, level)
    assert found.settings == settings


@pytest.mark.fault
def test_spaces_in_the_brackets_of_a_class_are_none_outside_of_them():
    found = parse_engine(f"{SPRING}(k=2, delay=0)")
    assert (found.target, found.settings) == ("label_toys:Spring", {"k": 2, "delay": 0})


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("gfn2-xtbb", "gfn2-xtb"),
        ("gfn2-xtb:1", "gfn2-xtb"),
        ("pysfc:hf/sto-3g", "pyscf:METHOD/BASIS"),
        ("mode:x.safetensors", "model:FILE"),
    ],
)
def test_the_nearest_kind_is_offered(text, form, bare):
    if bare and text.endswith(".safetensors"):
        return  # may be a file of that name
    with pytest.raises(ConfigError, match=f"did you mean '{form}"):
        parse_engine(text, bare_models=bare)


def test_a_model_needs_its_kind_only_where_engines_are_meant(tmp_path):
    with pytest.raises(ConfigError, match="unknown engine"):
        parse_engine("tlpot-tiny")
    assert parse_engine("tlpot-tiny@a/b", bare_models=True).level == "a/b"
    odd = tmp_path / "a@b.safetensors"
    odd.write_bytes((LIBRARY / "tlpot-tiny.safetensors").read_bytes())
    assert parse_engine(str(odd), bare_models=True).target == str(odd)


def test_what_is_said_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        parse_engine(f"{SPRING}(k=2) k=3")
    with pytest.raises(ConfigError, match="twice"):
        make_engine(EngineSpec(name="gfn2-xtb accuracy=1", settings={"accuracy": 2}))
    with pytest.raises(ConfigError, match="level"):
        energy_model("tlpot-fragments@gfn2-xtb", level="other")


def test_settings_in_brackets_reach_the_calculator_and_its_marks_are_filled():
    ion = System.from_atoms(Atoms("OH", [[0, 0, 0], [0, 0, 1]], info={"charge": -1}))
    for name in (f"{SPRING}(k={{charge}})", f"{SPRING} k={{charge}}"):
        engine = make_engine(EngineSpec(name=name, level="spring"))
        assert engine.compute(ion, forces=False, log=io.StringIO()).energy == -0.5
        assert engine.definition["settings"] == {"k": "{charge}"}
        assert engine.definition["engine"] == SPRING


def test_every_place_that_takes_a_model_takes_the_same_names():
    whole, named = named_source("tlpot-fragments"), named_source("model:tlpot-fragments@gfn2-xtb")
    assert whole == "tlpot-fragments"
    assert isinstance(named, LevelView)
    graph = build_graph([System.from_atoms(molecule("CH4"))], named.cutoff)
    one = evaluate(energy_model("tlpot-fragments@gfn2-xtb"), graph)
    two = evaluate(energy_model("tlpot-fragments", level="gfn2-xtb"), graph)
    assert float(one.energy) == float(two.energy)
    # those weights may be trained, so that they are evaluated in another way
    assert float(evaluate(named, graph).energy) == pytest.approx(float(one.energy), abs=1e-5)
    factory = CalculatorFactory.of("tlpot-fragments@gfn2-xtb")
    assert factory == CalculatorFactory(name="tlpot-fragments", level="gfn2-xtb")
    assert isinstance(factory.calculator(molecule("CH4")), TLPotCalculator)


def test_any_engine_samples():
    factory = CalculatorFactory.of(f"{SPRING} k=2", level="spring")
    assert factory.label_level == "spring"
    atoms = molecule("CH4")
    atoms.calc = factory.calculator(atoms)
    assert atoms.get_potential_energy() == pytest.approx(float((atoms.positions**2).sum()))
    assert json.loads(factory.definition)["settings"] == {"k": 2}


def test_the_low_calculator_of_a_difference_is_named():
    sizes = preset("tiny", (1, 8), hidden_irreps="4x0e+4x1o", cutoff=3.0)
    model = Potential.create(sizes, {"high - spring": {1: 0.1, 8: -0.2}})
    atoms = molecule("H2O")
    atoms.calc = DeltaCalculator(f"{SPRING}(k=2)", model)
    named = atoms.get_forces()
    atoms.calc = DeltaCalculator(named_calculator(f"{SPRING}(k=2)", label="spring"), model)
    np.testing.assert_array_equal(atoms.get_forces(), named)
    pytest.importorskip("tblite")
    with pytest.raises(ConfigError, match="gfn2-xtb"):
        DeltaCalculator("gfn2-xtb", model)


@pytest.mark.fault
def test_the_only_level_of_energies_is_the_one_that_has_them(tmp_path):
    """OpenMM, i-PI and fragments asked for a level of a model of one level and properties."""
    gap = PropertyTarget(quantity=Quantity(unit="eV", extensive=False), pooling="mean", spread=1.0)
    zeros = {1: 0.0, 8: 0.0}
    model = Potential.create(
        preset("tiny", (1, 8)), {"pbe": zeros, "gap@pbe": zeros}, targets={"gap@pbe": gap}
    )
    save(model, tmp_path / "both.safetensors")
    for source in (model, str(tmp_path / "both.safetensors")):
        assert energy_model(source).level == "pbe"
