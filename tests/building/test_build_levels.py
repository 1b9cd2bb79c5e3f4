"""Levels of theory of a build: what samples, and what their labels depend on."""

import pickle

import pytest
from ase.build import molecule
from build_settings import build, settings
from needs import needs

from tlpot.building import build_config, make_build_plan, stage_statuses
from tlpot.building.config import LevelSettings
from tlpot.building.labels import Level, sampling_engine
from tlpot.calculators import EngineCalculator
from tlpot.data import frames_of, open_dataset
from tlpot.engines import make_engine
from tlpot.errors import DataError, TLPotWarning
from tlpot.models import LIBRARY, load, save

needs("tblite")

FROM = {"low": {"engine": "gfn2-xtb", "budget": 22}, "high": {"engine": "gfn1-xtb", "budget": 20}}
HOT = LevelSettings(engine="gfn2-xtb", budget=1, settings={"electronic_temperature": 20000.0})


def energy(calculator):
    ion = molecule("OH", info={"charge": -1, "spin": 1})
    ion.calc = calculator
    return ion.get_potential_energy()


def test_the_low_level_samples_with_its_settings():
    low = Level(settings=HOT)
    engine = pickle.loads(pickle.dumps(sampling_engine(None, low)))
    assert engine.label_level == low.name
    ion = molecule("OH", info={"charge": -1})
    ion.set_initial_magnetic_moments(None)
    found = energy(engine.calculator(ion))
    assert found == pytest.approx(energy(EngineCalculator(make_engine(low.spec))), abs=1e-9)
    plain = sampling_engine("gfn2-xtb", low).calculator(ion)
    assert abs(energy(plain) - found) > 0.1


@pytest.fixture
def mine(tmp_path):
    """A model of one level, and a function that changes it by a shift of all energies."""
    path = tmp_path / "mine.safetensors"
    model = load("tlpot-fragments", device="cpu").only("gfn2-xtb")
    save(model, path)

    def change():
        shifted = {z: e + 1.0 for z, e in model.references("gfn2-xtb").items()}
        save(model.with_level("gfn2-xtb", shifted, parent="gfn2-xtb"), path)

    return path, change


def todo(given):
    build_plan = make_build_plan(build_config(given))
    statuses = stage_statuses(build_plan.stages, build_plan.config.output)
    return {one.stage.name: one.why for one in statuses if one.state == "to do"}


def test_another_model_behind_an_engine_is_noticed_and_labels_anew(mine, tmp_path):
    path, change = mine
    engine = f"model:{path}@gfn2-xtb"
    given = settings(tmp_path / "out", low={"engine": engine, "budget": 3},
                     high={"engine": "gfn1-xtb", "budget": 3}, uncertainty={"method": "none"},
                     active={"rounds": 0})  # fmt: skip

    def energies():
        build(given, until="low")
        data = open_dataset(tmp_path / "out" / "low" / "labels.h5")
        (name,) = data.levels  # labels by a model carry its name
        return min(frame.labels[name].energy for frame in frames_of(data))

    before = energies()
    assert "sample" not in todo(given)
    change()
    assert "level.model_sha256" in todo(given)["sample"]
    with pytest.warns(TLPotWarning, match="5 labels at .* computed in another way"):
        after = energies()
    assert after == pytest.approx(before + 19.0, abs=0.5)  # atoms of ACE-G-NME


def test_another_model_that_samples_is_noticed(mine, tmp_path):
    path, change = mine
    given = settings(tmp_path, sample={"calculator": f"model:{path}"})
    stages = [make_build_plan(build_config(given)).stages[1]]
    change()
    stages.append(make_build_plan(build_config(given)).stages[1])
    one, other = (stage.settings["level"] for stage in stages)
    assert one.keys() == other.keys() == {"engine", "model_sha256"}
    assert one != other


def test_other_source_data_of_a_strategy_are_noticed(tmp_path):
    data = tmp_path / "old.h5"
    chosen = {"name": "ewc", "files": [str(data)]}
    tuning = {"strategy": chosen, "split": {"validation": 2, "test": 2}}
    given = settings(tmp_path / "out", finetune=tuning, uncertainty={"method": "none"},
                     active={"rounds": 0}, curve={"sizes": [3]},
                     pretrain={"parent": "tlpot-fragments", **tuning, "training": {"epochs": 1}},
                     **FROM)  # fmt: skip
    with pytest.raises(DataError, match=r"cannot read .*old.h5: No such file"):
        make_build_plan(build_config(given))
    data.write_bytes((LIBRARY / "tlpot-qm.h5").read_bytes())
    found = {s.name: s.settings for s in make_build_plan(build_config(given)).stages}
    data.write_bytes(b"other")
    changed = {s.name: s.settings for s in make_build_plan(build_config(given)).stages}
    assert {name for name in found if found[name] != changed[name]} == {
        "pretrain", "finetune", "curve",
    }  # fmt: skip


def test_source_data_that_the_build_makes_need_not_be_there(tmp_path):
    made = {"name": "ewc", "files": [str(tmp_path / "out" / "low" / "labels.h5")]}
    given = settings(tmp_path / "out", finetune={"strategy": made}, uncertainty={"method": "none"},
                     active={"rounds": 0})  # fmt: skip
    stages = {s.name: s.settings for s in make_build_plan(build_config(given)).stages}
    assert "source_sha256" not in stages["finetune"]


def test_engines_that_are_no_models_leave_the_origin_as_it_was(tmp_path):
    stages = {s.name: s.settings for s in make_build_plan(build_config(settings(tmp_path))).stages}
    keys = {"engine", "settings", "level", "forces"}
    assert stages["sample"]["level"].keys() == stages["low"]["level"].keys() == keys
    assert stages["finetune"].keys() == {"finetune", "uncertainty"}
