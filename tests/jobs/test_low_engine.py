"""Delta learning on top of an engine: its values are computed once, and are those of the engine."""

import json

import numpy as np
import pytest
from ase.build import molecule
from label_toys import Spring
from shipped_levels import CC

from tlpot.calculators import DeltaCalculator, TLPotCalculator
from tlpot.data import open_dataset
from tlpot.errors import ConfigError, DataError, TLPotWarning, UnknownLevelError
from tlpot.jobs import EnergyMethod, finetune, finetune_config, prepare_finetune
from tlpot.labelling import kept_labels
from tlpot.labelling.journal import Journal
from tlpot.learning_curves import curve_config, curve_tasks, run_curve
from tlpot.models import load_potential, save

pytestmark = pytest.mark.train


@pytest.fixture
def calls(tmp_path):
    return tmp_path / "calls"


def spring(calls):
    return f"ase:label_toys:Spring(calls={calls}, k=0.1)"


def n_asked(calls, journal):
    """How often the engine was asked, which has to be once for each geometry."""
    lines = [json.loads(line[9:]) for line in journal.read_text().splitlines()]
    geometries = [line["geometry"] for line in lines if "geometry" in line]
    assert len(calls.read_text().splitlines()) == len(geometries) == len(set(geometries))
    return len(geometries)


def delta(settings, low, **more):
    return finetune_config({**settings, "strategy": {"name": "delta", "low": low, **more}})


def test_an_engine_is_asked_once_for_each_geometry(settings, calls, tmp_path):
    shared = tmp_path / "shared.journal"
    outcome = finetune(delta(settings, spring(calls), low_labels=str(shared)), show=False)
    n_test = len(prepare_finetune(delta(settings, "gfn2-xtb")).job.split.test)
    assert n_asked(calls, shared) == 24 + 8 + n_test
    assert outcome.potential.levels == (f"{CC} - spring",)
    card = load_potential(settings["output"]).card
    assert card.dataset["low"]["engine"] == "ase:label_toys:Spring"
    other = {**settings, "output": str(tmp_path / "other.safetensors"),
             "split": {**settings["split"], "train": 26}}  # fmt: skip
    finetune(delta(other, spring(calls), low_labels=str(shared)), show=False)
    assert n_asked(calls, shared) == 26 + 8 + n_test
    water = molecule("H2O")
    water.calc = DeltaCalculator(spring(calls), settings["output"])
    water.get_potential_energy()
    with pytest.raises(ConfigError, match=r"settings.k: 0\.1 there, 0\.2 now"):
        DeltaCalculator(spring(calls).replace("0.1", "0.2"), settings["output"])
    expected = water.copy()
    expected.calc = Spring(k=0.1)
    assert water.calc.results["energy_low"] == expected.get_potential_energy()


def test_labels_of_the_dataset_come_before_an_engine_of_that_name(settings, tmp_path):
    prepare_finetune(delta(settings, "GFN2-xTB"))
    assert not list(tmp_path.rglob("*.journal"))


def test_differences_are_those_of_the_engine(settings, calls):
    job = prepare_finetune(delta(settings, spring(calls))).job
    (frame,) = job.dataset.read([job.split.train[0]])
    expected = frame.labels[CC].energy - 0.05 * np.sum(frame.system.positions**2)
    assert frame.labels[f"{CC} - spring"].energy == pytest.approx(expected, abs=1e-9)


def test_a_curve_computes_its_low_level_once(curve_settings, calls, tmp_path):
    config = {**curve_settings, "strategies": [{"name": "delta", "low": spring(calls)}], "seeds": 2}
    curve = run_curve(curve_config(config), device="cpu", show=False)
    assert [len(series.points) for series in curve.series] == [4]
    assert n_asked(calls, tmp_path / "curve" / "low-labels.journal") > 16


def test_another_engine_makes_other_points(curve_settings, calls):
    def keys(low):
        config = {**curve_settings, "strategies": [{"name": "delta", "low": low}]}
        return {t.key for s in curve_tasks(curve_config(config)).series for t in s.tasks}

    assert keys(spring(calls)) == keys(spring(calls))
    assert not keys(spring(calls)) & keys(spring(calls).replace("0.1", "0.2"))


@pytest.mark.fault
@pytest.mark.parametrize(
    ("low", "error", "why"),
    [
        ("ase:label_toys:Sprang", ConfigError, "no class 'Sprang'"),
        ("tor:model.jpt", ConfigError, "strategy.low.*did you mean 'torch"),
        ("torch:nowhere.jpt", Exception, "cannot read nowhere.jpt"),
        ("pbe/def2-svp", UnknownLevelError, "pbe/def2-svp"),
    ],
)
def test_low_levels_that_there_are_not(settings, low, error, why):
    with pytest.raises(error, match=why):
        prepare_finetune(delta(settings, low))


@pytest.mark.fault
def test_where_the_values_are_kept_is_for_engines(settings):
    with pytest.raises(ConfigError, match="low_labels does not apply"):
        delta(settings, "parent", low_labels="x.journal")


@pytest.mark.fault
def test_an_engine_that_fails_leaves_frames_out(settings, monkeypatch, data_file):
    train = prepare_finetune(delta(settings, "gfn2-xtb")).job.split.train
    methanol = 6  # which is for testing
    fatal = {next(int(n) for n in open_dataset(data_file).sizes[train] if n != methanol)}
    compute = Spring.calculate

    def calculate(self, atoms=None, *args):
        if len(atoms) in fatal:
            raise RuntimeError("it does not converge")
        compute(self, atoms, *args)

    monkeypatch.setattr(Spring, "calculate", calculate)
    with pytest.warns(TLPotWarning, match="does not converge.*left out"):
        job = prepare_finetune(delta(settings, "ase:label_toys:Spring")).job
    assert "left out" in job.split.by
    fatal |= set(range(99))
    again = {**settings, "output": settings["output"].replace("model", "again")}
    with pytest.raises(DataError, match="fails for all of"):
        prepare_finetune(delta(again, "ase:label_toys:Spring"))


def test_who_comes_second_waits_for_the_first(tmp_path, monkeypatch):
    """The values that another process is computing are not computed again."""
    from tlpot.engines import EngineSpec
    from tlpot.labelling import labels
    from tlpot.system import System

    system = System.from_atoms(molecule("H2O"))
    spec = EngineSpec(name="ase:label_toys:Spring", level="spring")
    path = tmp_path / "x.journal"
    (expected,) = kept_labels([system], ["water"], spec, tmp_path / "y.journal", forces=True)
    other = Journal(path)

    def sleep(seconds):
        with other:
            path.write_bytes((tmp_path / "y.journal").read_bytes())
        monkeypatch.setattr(labels, "run_labels", None)

    monkeypatch.setattr(labels.time, "sleep", sleep)
    (found,) = kept_labels([system], ["water"], spec, path, forces=True)
    assert found.energy == expected.energy


@pytest.mark.fault
def test_a_model_that_a_difference_was_learned_on_is_its_low_level(settings, tmp_path):
    """Its labels have its name, so the same model was refused, and any other with low_level."""
    low = tmp_path / "low.safetensors"
    save(load_potential("tlpot-tiny"), low)
    finetune(delta(settings, f"model:{low}"), show=False)
    water = molecule("H2O")
    for name in (f"model:{low}", str(low)):
        water.calc = DeltaCalculator(name, settings["output"])
        alone = TLPotCalculator(low).get_potential_energy(water)
        assert water.get_potential_energy() == alone + water.calc.results["energy_delta"]
        method = EnergyMethod(model=settings["output"], low=name)
        for way in (method, method.opened()):
            calculator, _ = way.calculator(water)
            assert calculator.get_potential_energy(water) == water.get_potential_energy()
    for given in ({}, {"low_level": "tlpot-tiny"}):
        with pytest.raises(ConfigError, match="model_sha256"):
            DeltaCalculator("tlpot-peptides-tiny", settings["output"], **given)
