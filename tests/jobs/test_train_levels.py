"""Several levels of theory in one training, from the data to the model and its children."""

import json

import h5py
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

import tlpot
from tlpot.errors import ConfigError, OutputError, UnknownElementError, UnknownLevelError
from tlpot.jobs import prepare_train, train_config, train_from_scratch
from tlpot.models import CorrectionInfo, LinearCorrection, feature_blocks, load, save
from tlpot.transfer import STRATEGY_NAMES, strategy

pytestmark = pytest.mark.train

MODEL = {"hidden_irreps": "8x0e+8x1o", "radial_hidden": [], "n_species": 4, "readout_hidden": 4}
E0 = {1: -10.0, 6: -1000.0, 8: -2000.0, 16: -300.0}


def morse(atoms, depth):
    """Energy and forces of a molecule of Morse pairs."""
    vectors = atoms.positions[:, None] - atoms.positions
    distances = np.linalg.norm(vectors, axis=-1) + 99.0 * np.eye(len(atoms))
    x = np.exp(-1.5 * (distances - 1.2))
    energy = sum(E0[z] for z in atoms.numbers) + 0.5 * depth * (x**2 - 2 * x).sum()
    slope = -3.0 * depth * (x**2 - x) / distances
    return energy, -(slope[..., None] * vectors).sum(axis=1)


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    """Molecules of H, C, O at two levels, and one with S at the first alone."""
    path = tmp_path_factory.mktemp("levels") / "two.h5"
    with h5py.File(path, "w") as file:
        file.attrs["levels"] = json.dumps({"cheap": "cheap", "dear": "dear"})
        file.attrs["units"] = json.dumps(
            {"coordinates": "angstrom", "energy": "ev", "forces": "ev/angstrom"}
        )
        for name in ("H2O", "CH3OH", "SH2", "CH4"):
            frames = [Atoms(molecule(name)) for _ in range(12)]
            for k, atoms in enumerate(frames):
                atoms.rattle(0.06, seed=k)
            group = file.create_group(name)
            group["atomic_numbers"] = frames[0].numbers
            group["coordinates"] = [atoms.positions for atoms in frames]
            for level, depth in {"cheap": 2.0, "dear": 2.6}.items():
                if (name, level) != ("SH2", "dear"):
                    energies, forces = zip(*(morse(atoms, depth) for atoms in frames),
                                           strict=True)  # fmt: skip
                    group[f"{level}.energy"] = energies
                    group[f"{level}.forces"] = forces
    return path


@pytest.fixture
def settings(data_file, tmp_path):
    return {
        "data": {"files": [str(data_file)]},
        "level": ["cheap", "dear"],
        "model": MODEL,
        "output": str(tmp_path / "two.safetensors"),
        "split": {"by": "random", "validation": 8, "test": 8},
        "training": {"epochs": 20, "batch_size": 4, "ema": 0.8},
    }


@pytest.fixture
def outcome(settings):
    return train_from_scratch(train_config(settings), show=False)


def test_every_level_is_learned_and_reported(outcome):
    assert outcome.potential.levels == ("cheap", "dear")
    pairs = {"cheap": (outcome.start, outcome.end), **outcome.others}
    for level, (start, end) in pairs.items():
        assert end.overall["forces_mae"] < 0.8 * start.overall["forces_mae"], level
        assert f"test frames at {level}, after" in outcome.text()
    card = outcome.potential.card
    assert set(card.metrics["test"]) == {"cheap", "dear"}
    assert set(card.references) == {"cheap", "dear"}
    report = json.loads((outcome.run_dir / "report.json").read_text())
    assert report["levels"]["dear"]["overall"] == outcome.others["dear"][1].overall
    assert set(outcome.as_json()["levels"]) == {"cheap", "dear"}
    assert (outcome.run_dir / "parity_dear.png").is_file()


def test_levels_that_differ_have_different_answers(outcome):
    atoms = molecule("H2O")
    atoms.positions *= 1.04
    forces = {
        level: tlpot.predict(outcome.output, atoms, level=level).forces[0]
        for level in outcome.potential.levels
    }
    assert np.abs(forces["dear"] - forces["cheap"]).max() > 0.05


def test_a_level_knows_the_elements_of_its_own_labels(outcome):
    loaded = load(outcome.output, device="cpu")
    assert loaded.at("cheap").elements == (1, 6, 8, 16)
    assert loaded.at("dear").elements == (1, 6, 8)
    calculator = tlpot.TLPotCalculator(outcome.output, level="dear")
    atoms = molecule("SH2")
    atoms.calc = calculator
    with pytest.raises(UnknownElementError, match="not know S; it was trained on H, C, O"):
        atoms.get_potential_energy()
    inside = {
        level: int((loaded.at(level).training_domain.content.atoms > 0).sum())
        for level in loaded.levels
    }
    assert inside == {"cheap": 4, "dear": 3}


def test_the_same_model_after_an_interruption(settings, outcome, tmp_path):
    class EnoughError(Exception):
        pass

    def stop(done, total, what):
        if done >= 20:
            raise EnoughError

    again = {**settings, "output": str(tmp_path / "again.safetensors")}
    with pytest.raises(EnoughError):
        tlpot.train(config=again, progress=stop)
    resumed = tlpot.train(config=again, resume=True)
    for one, two in zip(
        outcome.potential.parameters(), resumed.potential.parameters(), strict=True
    ):
        assert torch.equal(one, two)


@pytest.mark.parametrize("source", ["cheap", "dear"])
def test_fine_tuning_goes_on_from_any_level(outcome, source, tmp_path):
    frames = []
    for k in range(16):
        atoms = molecule("CH3OH")
        atoms.rattle(0.06, seed=100 + k)
        atoms.info["energy"], atoms.arrays["forces"] = morse(atoms, 3.0)
        frames.append(atoms)
    child = tlpot.finetune(
        outcome.output, frames, level="best", source=source, output=tmp_path / "child.safetensors",
        epochs=12, split={"validation": 4, "test": 4}, training={"batch_size": 4},
    )  # fmt: skip
    assert child.potential.levels == ("best",)
    assert child.end.overall["forces_mae"] < child.start.overall["forces_mae"]


def test_weights_of_levels(settings):
    job = prepare_train(train_config({**settings, "weights": {"Dear": 3}}), device="cpu").job
    assert job.plan.level_weights == {"dear": 3}
    for weights, error in (({"dear": 0}, ConfigError), ({"other": 1}, UnknownLevelError)):
        with pytest.raises(error, match=next(iter(weights))):
            prepare_train(train_config({**settings, "weights": weights}), device="cpu")


def test_levels_are_named_once_and_exist(settings):
    with pytest.raises(ConfigError, match="each once"):
        prepare_train(train_config({**settings, "level": ["dear", "DEAR"]}))
    with pytest.raises(UnknownLevelError, match="dearer"):
        prepare_train(train_config({**settings, "level": ["dear", "dearer"]}))


def test_the_preflight_report_speaks_of_each_level(settings):
    report = prepare_train(train_config(settings), device="cpu").report
    assert "in no molecule of this level" in report
    for level in ("cheap", "dear"):
        assert f"error at step 0 at {level}" in report


@pytest.fixture(scope="module")
def parent(data_file, tmp_path_factory):
    """A model of two levels, the second of which does not know S."""
    output = tmp_path_factory.mktemp("parent") / "two.safetensors"
    tlpot.train(
        data_file, level=["cheap", "dear"], model=MODEL, output=output, epochs=4,
        split={"by": "random", "validation": 8},
    )  # fmt: skip
    return output


def methanols(depth=3.0):
    """Methanol at a third level, and at the first."""
    frames = []
    for k in range(16):
        atoms = molecule("CH3OH")
        atoms.rattle(0.06, seed=200 + k)
        atoms.info["energy"], atoms.arrays["forces"] = morse(atoms, depth)
        frames.append(atoms)
    return frames


@pytest.mark.parametrize("name", [n for n in STRATEGY_NAMES if n != "multihead"])
def test_every_strategy_starts_from_a_level_of_several(name, parent, tmp_path):
    child = tlpot.finetune(
        parent, methanols(), level="best", source="dear", strategy=name,
        output=tmp_path / "child.safetensors", split={"validation": 4, "test": 4},
        epochs=2 if strategy(name).defaults is not None else None, report={"enabled": False},
    )  # fmt: skip
    loaded = load(child.output, device="cpu")
    assert "best" in loaded.levels
    atoms = methanols()[0]
    again = tlpot.predict(child.output, atoms, level="best").energy[0]
    assert np.isfinite(again)
    assert again == pytest.approx(tlpot.predict(child.potential, atoms, level="best").energy[0])


def test_molecules_that_the_level_does_not_know_are_refused_before_the_training(parent, tmp_path):
    frames = []
    for k in range(12):
        atoms = molecule("SH2")
        atoms.rattle(0.05, seed=k)
        atoms.info["energy"], atoms.arrays["forces"] = morse(atoms, 3.0)
        frames.append(atoms)
    with pytest.raises(UnknownElementError, match=r"'dear' .* not of S; .*cheap"):
        tlpot.finetune(parent, frames, level="best", source="dear",
                       output=tmp_path / "child.safetensors")  # fmt: skip
    assert not (tmp_path / "child.safetensors").exists()


def test_relative_energies_alone(parent, tmp_path):
    """Labels that are off by a constant for each molecule teach differences."""
    frames = methanols()
    waters = [molecule("H2O") for _ in range(16)]
    for k, atoms in enumerate(waters):
        atoms.rattle(0.06, seed=k)
        atoms.info["energy"] = morse(atoms, 3.0)[0] + 300.0
    for atoms in frames:
        del atoms.arrays["forces"]
    child = tlpot.finetune(
        parent, [*frames, *waters], level="best", source="cheap",
        output=tmp_path / "child.safetensors", epochs=30,
        split={"by": "random", "validation": 6, "test": 6},
        training={"batch_size": 8, "loss": {"energy": 0, "relative": 1}},
    )  # fmt: skip
    assert child.end.overall["relative_mae"] < 0.9 * child.start.overall["relative_mae"]
    assert not any("ENERGY" in text for text in child.warnings)
    assert "relative energy" in child.text()
    assert "shifted as a whole" not in child.text()


def test_the_charge_of_the_whole_is_not_told_to_every_atom(settings):
    with pytest.raises(ConfigError, match="add up"):
        prepare_train(train_config({**settings, "model": {**MODEL, "charge_spin": True}}))


def goes_on(settings, outcome, **changes):
    """The settings of a training on from a model, on its own data."""
    other = {k: v for k, v in settings.items() if k != "model"}
    output = outcome.output.with_name("further.safetensors")
    return {**other, "start": str(outcome.output), "output": str(output), **changes}


def test_a_training_goes_on_from_a_model_bit_for_bit(settings):
    short = {"epochs": 4, "batch_size": 4, "ema": 0.8}
    outcome = train_from_scratch(train_config({**settings, "training": short}), show=False)
    prepared = prepare_train(train_config(goes_on(settings, outcome)))
    parent = load(outcome.output, device="cpu")
    for name, tensor in prepared.job.potential.state_dict().items():
        if ".domain." not in name:
            other = parent.state_dict()[name]
            assert torch.allclose(tensor, other, rtol=0, atol=0, equal_nan=True), name
    assert f"the training goes on from {outcome.output}" in prepared.report
    further = train_from_scratch(train_config(goes_on(settings, outcome)), show=False)
    assert further.start.overall == outcome.end.overall
    assert further.end.overall["forces_mae"] < 0.9 * further.start.overall["forces_mae"]
    assert further.potential.card.parent
    for level in ("cheap", "dear"):
        kept = further.potential.references(level)
        assert kept == pytest.approx(parent.references(level), rel=0, abs=0, nan_ok=True)


def test_a_training_that_goes_on_never_ends_worse_than_its_start(settings, outcome):
    ruinous = {"epochs": 2, "batch_size": 4, "learning_rate": 0.5, "ema": 0.1}
    further = train_from_scratch(
        train_config(goes_on(settings, outcome, training=ruinous)), show=False
    )
    assert further.end.overall["forces_mae"] <= further.start.overall["forces_mae"]
    assert further.training.best_epoch == 0
    assert any("NO UPDATE WAS KEPT" in warning for warning in further.warnings)


def test_levels_that_are_not_trained_further_are_not_kept(settings, outcome):
    job = prepare_train(train_config(goes_on(settings, outcome, level="dear"))).job
    assert job.potential.levels == ("dear",)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": {"preset": "small"}}, ConfigError, "model does not apply"),
        ({"references": "isolated"}, ConfigError, "references does not apply"),
        ({"output": None}, OutputError, "is the start itself"),
    ],
)
def test_what_does_not_go_with_a_start_is_refused(settings, outcome, changes, error, words):
    if "output" in changes:
        changes = {"output": str(outcome.output)}
    with pytest.raises(error, match=words):
        prepare_train(train_config(goes_on(settings, outcome, **changes)))


def test_a_level_that_the_start_lacks_is_refused(settings, outcome):
    only = goes_on(settings, outcome, level="cheap")
    cheap = train_from_scratch(train_config(only), show=False)
    with pytest.raises(ConfigError, match=r"has no level dear.*tlpot finetune"):
        prepare_train(
            train_config(
                {**goes_on(settings, cheap), "output": str(cheap.output.with_name("x.safetensors"))}
            )
        )


def test_an_element_that_a_level_of_the_start_lacks_is_refused(settings, outcome, data_file):
    more = data_file.with_name("more.h5")
    with h5py.File(data_file) as old, h5py.File(more, "w") as new:
        new.attrs.update(old.attrs)
        for name in old:
            old.copy(name, new)
        for kind in ("energy", "forces"):
            new[f"SH2/dear.{kind}"] = new[f"SH2/cheap.{kind}"][()]
    with pytest.raises(UnknownElementError, match="has S at level dear"):
        prepare_train(train_config(goes_on(settings, outcome, data={"files": [str(more)]})))


@pytest.mark.fault
def test_a_start_with_closed_forms_is_refused_for_what_it_is(settings, outcome):
    """The message was one of last-layer uncertainties, and of ensembles."""
    potential = load(outcome.output, device="cpu")
    blocks = ("layer 1", "layer 2")
    n = sum(feature_blocks(potential.architecture)[block] for block in blocks)
    info = CorrectionInfo(kind="linear", blocks=blocks)
    weights = np.zeros((len(potential.elements), n))
    potential.head("cheap").corrections.append(LinearCorrection.fitted(info, weights))
    start = outcome.output.with_name("closed.safetensors")
    save(potential, start)
    with pytest.raises(ConfigError, match=r"closed form.*tlpot finetune"):
        prepare_train(train_config({**goes_on(settings, outcome), "start": str(start)}))
