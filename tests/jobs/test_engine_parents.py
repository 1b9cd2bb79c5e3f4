"""Frozen regressors on features of another program's model, and what is refused of such models."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from few_labels import CC, DFT, SPLIT, labelled_atoms
from label_toys import Described
from toy_crystals import SPLIT as CRYSTAL_SPLIT
from toy_crystals import write_toy

import tlpot
from tlpot.cli import main
from tlpot.energy import ForcesRefusedError
from tlpot.errors import ConfigError, DataError, GeometryError
from tlpot.jobs import finetune, finetune_config
from tlpot.learning_curves import curve_config, curve_tasks, measure_curve, run_curve
from tlpot.models import LIBRARY

pytestmark = pytest.mark.train

NAME = "ase:label_toys:Described"
DATA = str(LIBRARY / "tlpot-qm.h5")


@pytest.fixture(autouse=True)
def _toys_can_be_imported(monkeypatch):
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def fitted(data, output, *, engine=NAME, strategy="frozen-ridge", level=CC, **more):
    return tlpot.finetune(
        engine, data, level=level, strategy=strategy, output=output, split=SPLIT, progress=False,
        overwrite=True, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ridge(data, tmp_path_factory):
    """A ridge on the features, and how often they were asked for."""
    folder = tmp_path_factory.mktemp("ridge")
    model, asked = folder / "ridge.safetensors", folder / "asked"
    fitted(data, model, engine=f"{NAME}(asked={asked})")
    return model, asked, f"{NAME}(asked={asked})"


def expected_energy(model, atoms):
    """The energy of the engine, four numbers and a term that is linear in the features."""
    calculator = Described()
    made, copy = model.potential, atoms.copy()
    copy.calc = calculator
    energies, features = made.references(CC), calculator.get_descriptors(copy)
    (term,) = made.corrections(CC)
    kinds = [made.elements.index(z) for z in copy.numbers]
    linear = float(np.sum(term.weights.value.numpy()[kinds] * features))
    return copy.get_potential_energy() + sum(energies[z] for z in copy.numbers) + linear


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_the_energy_is_that_of_the_engine_with_a_shift_and_a_linear_term(
    data, ridge, tmp_path, where
):
    model, engine = ridge[0], ridge[2]
    if where == "elsewhere":
        engine = f"env:{sys.executable} {NAME}"
        outcome = fitted(data, model := tmp_path / "there.safetensors", engine=engine)
        assert outcome.end.overall["energy_mae"] < outcome.start.overall["energy_mae"]
    opened = tlpot.load(model, engine=engine)
    found = opened.at(CC)
    assert np.abs(opened.corrections(CC)[0].weights.value.numpy()).max() > 1e-3
    for atoms in labelled_atoms(CC, 4):
        expected = expected_energy(found, atoms)
        atoms.calc = tlpot.TLPotCalculator(found)
        assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-7)


def test_features_are_asked_for_once_and_a_file_starts_no_program(data, ridge, tmp_path):
    model, asked, engine = ridge
    before = asked.read_text()
    potential = tlpot.load(model)
    with pytest.raises(ConfigError, match=r"described.*engine"):
        tlpot.predict(potential, labelled_atoms(CC, 2), level=CC)
    fitted(data, tmp_path / "gp.safetensors", engine=engine, strategy="frozen-gp",
           features=model.with_suffix(".run") / "features")  # fmt: skip
    assert asked.read_text() == before
    asked.unlink()
    fitted(data, tmp_path / "anew.safetensors", engine=engine)
    kept = list((tmp_path / "anew.run").glob("features/*/*-features.npz"))
    assert len(asked.read_text().splitlines()) == len(kept)
    # the frames of the split, one that is tried, which may be another, and that one rotated
    n_frames = sum(SPLIT[part] for part in ("train", "validation", "test"))
    assert len(kept) - n_frames in (1, 2)


def test_jobs_take_the_engine_beside_the_model(data, ridge):
    model, _, engine = ridge
    atoms = labelled_atoms(CC, 4)
    predicted = tlpot.predict(model, atoms, level=CC, engine=engine)
    evaluated = tlpot.evaluate(model, data, level=CC, engine=engine)
    order = np.argsort(evaluated.predictions.indices)
    labels = evaluated.predictions.energy[order]
    for k, each in enumerate(atoms):
        row = np.argmin(np.abs(labels[:, 0] - each.get_potential_energy()))
        assert labels[row, 1] == pytest.approx(predicted.energy[k], abs=1e-7)
    assert predicted.forces is None


@pytest.mark.parametrize("strategy", ["frozen-gp", "frozen-forest", "shift"])
def test_every_strategy_that_moves_no_weights_goes(data, tmp_path, strategy):
    model = tmp_path / "m.safetensors"
    outcome = fitted(data, model, strategy=strategy)
    found = tlpot.predict(model, labelled_atoms(CC, 2), level=CC, engine=NAME)
    assert np.isfinite(found.energy).all()
    assert (found.energy_std is not None) == (strategy == "frozen-gp")
    same = outcome.end.overall["energy_mae"] == outcome.start.overall["energy_mae"]
    assert same == (strategy == "shift")


def test_step_0_is_the_shift_that_delta_learning_begins_with(data, tmp_path, ridge):
    frozen = fitted(data, tmp_path / "r.safetensors", strategy="shift").start.overall
    delta = tlpot.finetune(
        "tlpot-tiny", data, level=CC, strategy={"name": "delta", "low": NAME}, split=SPLIT,
        output=tmp_path / "d.safetensors", epochs=1, report={"enabled": False}, progress=False,
    ).start.overall  # fmt: skip
    assert frozen["energy_mae"] == pytest.approx(delta["energy_mae"], abs=1e-3)


def test_the_features_alone_do_without_the_energy(data, tmp_path):
    fitted(data, tmp_path / "m.safetensors", strategy={"name": "frozen-ridge", "on": "total"})
    opened = tlpot.load(tmp_path / "m.safetensors", engine=NAME)
    atoms = labelled_atoms(CC, 1)[0]
    whole = expected_energy(opened.at(CC), atoms)
    atoms.calc = Described()
    own = atoms.get_potential_energy()
    atoms.calc = tlpot.TLPotCalculator(opened, level=CC)
    assert atoms.get_potential_energy() == pytest.approx(whole - own, abs=1e-7)


def test_energies_are_all_there_is_where_forces_are_labelled(tmp_path, ridge):
    frames = labelled_atoms(DFT)
    outcome = fitted(frames, tmp_path / "m.safetensors", level=DFT)
    assert "forces_mae" not in outcome.end.overall
    (term,) = outcome.potential.corrections(DFT)
    assert term.info.fit["forces"] is False
    with pytest.raises(ConfigError, match="forces"):
        fitted(frames, tmp_path / "m.safetensors", level=DFT,
               strategy={"name": "frozen-ridge", "forces": True})  # fmt: skip
    atoms = labelled_atoms(CC, 1)[0]
    atoms.calc = tlpot.TLPotCalculator(tlpot.load(ridge[0], engine=ridge[2]), level=CC)
    with pytest.raises(ForcesRefusedError, match="engine"):
        atoms.get_forces()


def test_a_gap_is_read_from_the_features_of_a_potential(tmp_path):
    data = write_toy(tmp_path)
    found = tlpot.finetune(
        NAME, config={"data": data, "split": CRYSTAL_SPLIT}, level="gap@cheap",
        strategy="frozen-ridge", output=tmp_path / "m.safetensors", progress=False,
    )  # fmt: skip
    errors = {each.name: each.errors["property_mae"] for each in found.baselines}
    assert found.end.overall["property_mae"] < 0.7 * errors["mean"]
    again = tlpot.evaluate(tmp_path / "m.safetensors", data["files"], spec=data["spec"],
                           level="gap@cheap", engine=NAME)  # fmt: skip
    assert again.errors.overall["property_mae"] < errors["mean"]


def test_a_property_can_be_told_beside_the_features(tmp_path):
    data = write_toy(tmp_path)
    found = tlpot.finetune(
        NAME, config={"data": data, "split": CRYSTAL_SPLIT}, level="gap@dear",
        strategy={"name": "frozen-ridge", "known": "gap@cheap"}, output=tmp_path / "m.safetensors",
        progress=False,
    )  # fmt: skip
    assert found.end.overall["property_mae"] < 0.05


def curve(folder, engine, **more):
    return curve_config(
        {
            "parents": [engine], "data": {"files": [DATA]}, "level": CC,
            "strategies": ["shift", "frozen-ridge"], "sizes": [8, 16], "seeds": 2,
            "output": str(folder), "split": {"by": "random", "test": ["methanol"], "validation": 4},
            **more,
        }
    )  # fmt: skip


def test_a_curve_asks_for_the_features_once(tmp_path):
    asked, calls = tmp_path / "asked", tmp_path / "calls"
    engine = f"{NAME}(asked={asked}, calls={calls})"
    found = run_curve(curve(tmp_path / "curve", engine), device="cpu", show=False)
    assert [len(series.points) for series in found.series] == [4, 4]
    for file, what in ((asked, "features"), (calls, "energy")):
        kept = list((tmp_path / "curve" / "features").glob(f"*/*-{what}.npz"))
        assert len(file.read_text().splitlines()) == len(kept) > 16


def test_the_seeds_of_a_curve_are_joined_with_their_engine(tmp_path):
    config = curve(tmp_path / "curve", NAME, strategies=["frozen-ridge"], keep_models=True)
    found = measure_curve(config, ensembles=True, device="cpu")
    assert not found.ensembles.left_out
    assert {row.size for row in found.ensembles.rows} == {8, 16}


def test_another_engine_makes_other_points(tmp_path):
    def keys(engine):
        plan = curve_tasks(curve(tmp_path / "curve", engine))
        return {task.key for series in plan.series for task in series.tasks}

    assert keys(NAME) == keys(NAME)
    assert not keys(NAME) & keys(f"{NAME}(k=2.0)")


def test_from_the_command_line(data, tmp_path, capsys):
    model = str(tmp_path / "m.safetensors")
    settings = [f"split.{key}={value}" for key, value in SPLIT.items()]
    command = ["finetune", NAME, data, "--level", CC, "-o", model, "--device", "cpu", *settings]
    assert main(command) == 2
    assert "take frozen-ridge" in capsys.readouterr().err
    assert main([*command, "--strategy", "frozen-ridge"]) == 0
    assert main(["info", model]) == 0
    assert "features of each atom by described" in capsys.readouterr().out
    assert main(["predict", model, "H2O", "--level", CC]) == 2
    assert main(["predict", model, data, "--level", CC, "--engine", NAME]) == 0
    assert main(["evaluate", model, data, "--level", CC, "--engine", NAME]) == 0
    assert "40 frames" in capsys.readouterr().out
    split = str(tmp_path / "m.run" / "split.json")
    report = ["report", model, data, "--level", CC, "--split", split]
    assert main(report) == 2
    assert "--engine" in capsys.readouterr().err
    assert main([*report, "--engine", NAME]) == 0
    assert "energy" in capsys.readouterr().out
    assert main([*report[:2], "--engine", NAME, "--structure", "x.pdb", "-o", "r"]) == 2
    assert "--engine does not apply" in capsys.readouterr().err


def test_an_ensemble_on_an_engine_is_calibrated_with_it(data, ridge, tmp_path, capsys):
    model, _, engine = ridge
    other = str(tmp_path / "shift.safetensors")
    fitted(data, other, engine=engine, strategy="shift")
    models, split = [str(model), other], str(model.with_suffix(".run") / "split.json")
    joined = tlpot.ensemble(models, data, level=CC, split=split, engine=engine, progress=False)
    expected = tlpot.calibrate(
        tlpot.ensemble(models, level=CC).model, data, level=CC, split=split, engine=engine,
        progress=False,
    )  # fmt: skip
    assert joined.calibrated.report.as_json() == expected.report.as_json()
    kept = str(tmp_path / "both.safetensors")
    command = ["ensemble", *models, "--level", CC, "-o", kept]
    assert main([*command, "--engine", engine]) == 2
    assert "does not apply without data" in capsys.readouterr().err
    assert main([*command, "--calibrate", data, "--split", split, "--engine", engine]) == 0
    atoms = labelled_atoms(CC, 1)[0]
    opened = tlpot.load(kept, engine=engine)
    assert opened.at(CC).calibration is not None
    found = tlpot.predict(kept, [atoms], level=CC, engine=engine)
    expected = [tlpot.predict(m, [atoms], level=CC, engine=engine).energy[0] for m in models]
    assert found.energy[0] == pytest.approx(np.mean(expected), abs=1e-9)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("engine", "why"),
    [
        (
            f"{NAME}(fault=vectors)",
            "3 of 15 features change as the structure is rotated",
        ),
        (f"{NAME}(fault=shape)", "one row for each"),
        (f"{NAME}(fault=nan)", "NaN"),
        (f"{NAME}(fault=raises)", "no features today"),
        ("ase:label_toys:Spring", "get_descriptors"),
        (f"env:{sys.executable} ase:label_toys:Spring", "get_descriptors"),
        ("gfn2-xtb", "no descriptors"),
        ("ase:label_toys:Descrbed", "no class"),
    ],
)
def test_features_that_will_not_do(data, tmp_path, engine, why):
    with pytest.raises(ConfigError, match=why):
        fitted(data, tmp_path / "m.safetensors", engine=engine)
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.fault
def test_features_whose_number_differs_between_structures(data, tmp_path):
    with pytest.raises(GeometryError, match="features of"):
        fitted(data, tmp_path / "m.safetensors", engine=f"{NAME}(fault=width)")


@pytest.mark.fault
@pytest.mark.parametrize("strategy", ["full", "scratch", "delta", "auto", "lora"])
def test_strategies_that_move_weights_are_refused(data, tmp_path, strategy):
    with pytest.raises(ConfigError, match=f"{strategy} does not apply.*frozen-ridge"):
        fitted(data, tmp_path / "m.safetensors", strategy=strategy)
    with pytest.raises(ConfigError, match="does not apply"):
        curve_tasks(curve(tmp_path / "c", NAME, strategies=["full"]))


@pytest.mark.fault
def test_another_engine_than_the_model_was_fitted_on_is_refused(ridge):
    model, _, engine = ridge
    with pytest.raises(ConfigError, match="settings"):
        tlpot.load(model, engine=engine.replace("(", "(k=2.0, "))
    with pytest.raises(ConfigError, match="spring"):
        tlpot.load(model, engine="ase:label_toys:Spring")
    with pytest.raises(ConfigError, match="does not apply"):
        tlpot.load("tlpot-tiny", engine=NAME)
    with pytest.raises(ConfigError, match="torch:FILE"):
        tlpot.load(model, engine="tlpot-tiny")


@pytest.mark.fault
def test_a_model_on_features_of_an_engine_is_no_parent_itself(data, ridge, tmp_path):
    for parent in (ridge[0], tlpot.load(ridge[0], engine=ridge[2])):
        with pytest.raises(ConfigError, match="start from that engine"):
            fitted(data, tmp_path / "m.safetensors", engine=parent, source=CC)


@pytest.mark.fault
def test_free_atoms_are_not_asked_of_an_engine(tmp_path):
    settings = {
        "parent": NAME, "data": {"files": [DATA]}, "level": DFT, "strategy": "shift",
        "output": str(tmp_path / "m.safetensors"), "split": {"by": "random", "validation": 8,
        "test": 8, "train": 24},
    }  # fmt: skip
    outcome = finetune(finetune_config(settings), show=False)
    assert np.isfinite(outcome.end.overall["energy_mae"])
    assert "starting from the parent's" in outcome.potential.card.references[DFT]
    with pytest.raises(ConfigError, match="isolated"):
        finetune(finetune_config({**settings, "references": "isolated"}), show=False)


@pytest.mark.fault
def test_damaged_features_are_said_to_be(data, tmp_path):
    fitted(data, tmp_path / "m.safetensors")
    kept = next((tmp_path / "m.run" / "features").rglob("*-features.npz"))
    kept.write_bytes(kept.read_bytes()[:40])
    with pytest.raises(DataError, match="is damaged"):
        fitted(data, tmp_path / "m.safetensors")
