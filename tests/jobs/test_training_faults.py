"""A training never makes things worse without a word."""

import json

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from shipped_levels import CC

from tlpot.cli import main
from tlpot.config import parse
from tlpot.errors import ConfigError
from tlpot.jobs import finetune, finetune_config, prepare_finetune, train_config
from tlpot.models import load_potential
from tlpot.training import TrainingSettings

pytestmark = pytest.mark.train

TOY = {"hidden_irreps": "8x0e+8x1o", "radial_hidden": [], "n_species": 2, "readout_hidden": 4}


def springs(path, n, *, names=("H2O",), offset=0.0, forces=lambda k: True):
    """Molecules near their geometry with the energies of springs to it."""
    frames = []
    for k in range(n):
        start = molecule(names[k % len(names)])
        atoms = start.copy()
        atoms.rattle(0.06, seed=k)
        moved = atoms.positions - start.positions
        atoms.info["energy"] = 10.0 * float((moved**2).sum()) - 50.0 + offset
        if forces(k):
            atoms.arrays["forces"] = -20.0 * moved
        frames.append(atoms)
    write(path, frames, format="extxyz", write_results=False)
    return path


def toy_training(path, tmp_path, **changes):
    return {
        "data": {"files": [str(path)], "level": "toy"},
        "output": str(tmp_path / "model.safetensors"),
        "model": TOY,
        "training": {"epochs": 2, "batch_size": 8},
        **changes,
    }


@pytest.mark.fault
def test_a_file_of_one_molecule_is_divided_at_random_and_says_so(tmp_path, capsys):
    path = springs(tmp_path / "water.xyz", 40)
    config = tmp_path / "train.yaml"
    config.write_text(json.dumps(toy_training(path, tmp_path)))
    main(["train", str(config), "--dry-run"])
    assert "all frames are of one molecule" in capsys.readouterr().out


@pytest.mark.fault
def test_a_stored_split_of_one_molecule_is_random(tmp_path, capsys):
    path = springs(tmp_path / "water.xyz", 40)
    out = tmp_path / "split.json"
    command = ["data", "split", str(path), "--level", "toy", "--validation", "0.1", "-o", str(out)]
    assert main(command) == 0
    assert "at random" in capsys.readouterr().out
    assert len(json.loads(out.read_text())["validation"]) == 4


def test_several_molecules_are_kept_whole(tmp_path):
    from tlpot.jobs import prepare_train

    path = springs(tmp_path / "two.xyz", 40, names=("H2O", "H2O2", "H2", "CH4"))
    config = train_config(toy_training(path, tmp_path, split={"validation": 0.25}))
    job = prepare_train(config).job
    groups = job.dataset.group_idx
    assert not set(groups[job.split.validation]) & set(groups[job.split.train])


@pytest.mark.fault
def test_what_ends_worse_than_it_began_says_so_in_capitals(settings, monkeypatch, capsys):
    """A choice by the loss, with a weight of energies that is too small for them."""
    from tlpot.training import loop

    monkeypatch.setattr(loop._Run, "finish", lambda run: _spoil(run))
    settings["report"] = {"parts": []}
    outcome = finetune(finetune_config(settings), show=False)
    text = "ENERGY WORSE THAN BEFORE THE TRAINING"
    run = finetune_config(settings).output.with_suffix(".run")
    assert text in (run / "report.json").read_text()
    assert any(text in warning for warning in outcome.warnings)
    assert any(text in warning for warning in outcome.report.warnings)
    card = load_potential(settings["output"], device="cpu").card
    assert any(text in warning for warning in card.metrics["warnings"])


def _spoil(run):
    """Ends a training with weights that are far off."""
    import torch

    with torch.no_grad():
        for weight in run.weights:
            weight.mul_(3.0)


@pytest.mark.fault
def test_the_choice_of_the_weights_never_lets_one_kind_pay_for_another(tmp_path):
    path = springs(tmp_path / "data.xyz", 60, names=("H2O", "H2", "H2O2"))
    first = toy_training(path, tmp_path, split={"by": "random"})
    from tlpot.jobs import train_from_scratch

    train_from_scratch(train_config(first), show=False)
    heavy = {"epochs": 4, "batch_size": 8, "learning_rate": 0.05}
    tuned = {
        "parent": first["output"],
        "data": {"files": [str(springs(tmp_path / "shift.xyz", 60, names=("H2O", "H2", "H2O2"),
                                       offset=0.3))], "level": "other"},
        "level": "other",
        "output": str(tmp_path / "tuned.safetensors"),
        "split": {"by": "random", "validation": 25},
        "training": {**heavy, "loss": {"energy": 1e-4}},
    }  # fmt: skip
    outcome = finetune(finetune_config(tuned), show=False)
    for kind in ("energy_mae", "forces_mae"):
        assert outcome.end.overall[kind] <= outcome.start.overall[kind] * (1 + 1e-6)


@pytest.mark.fault
def test_defaults_have_a_version_in_the_card(settings):
    outcome = finetune(finetune_config(settings), show=False)
    assert outcome.potential.card.recipe["defaults"] == 2


def test_old_defaults_can_be_repeated(settings):
    def training(**changes):
        config = finetune_config({**settings, "defaults": 1, **changes})
        return parse(TrainingSettings, config.training)

    old = training()
    assert (old.loss.energy, old.loss.forces, old.selection) == (1.0, 10.0, "loss")
    assert old.loss.at(1.0).energy == 1.0
    mine = {**settings["training"], "loss": {"energy": 7.0}}
    assert training(training=mine).loss.at(1.0).energy == 7.0
    with pytest.raises(ConfigError, match="defaults"):
        finetune_config({**settings, "defaults": 3})


def test_the_forces_of_an_anchor_do_not_decide(settings):
    job = prepare_finetune(finetune_config(settings)).job
    assert "forces" in job.dataset.levels[CC].kinds, "the anchor's"
    assert set(job.kinds) == {"energy"}


def test_a_refit_that_makes_energies_worse_is_named(tmp_path):
    """Two training frames of one molecule, off by chance, decide on the references of all."""
    from tlpot.evaluation import Predictions, refit_words

    found = Predictions(
        indices=np.arange(2), sizes=np.array([1, 1]), groups=np.array(["a", "b"]),
        atomic_numbers=np.array([1, 8]),
        energy=np.array([[0.0, 0.5], [0.0, 0.5]]),
        forces=np.full((2, 3, 2), np.nan), stress=np.full((2, 3, 3, 2), np.nan),
    )  # fmt: skip
    assert refit_words(found, {1: 0.5, 8: 0.5}, "test")[0].startswith("REFITTED")
    assert not refit_words(found, {1: -0.5, 8: -0.5}, "test")
    assert not refit_words(found, {}, "test")


def test_molecules_that_are_off_by_a_constant_are_named():
    from tlpot.evaluation import Predictions, offset_words

    n = 6
    groups = np.array(["good"] * 3 + ["bad"] * 3)
    error = np.array([0.01, -0.01, 0.0, 0.47, 0.48, 0.46])
    found = Predictions(
        indices=np.arange(n), sizes=np.ones(n, dtype=int), groups=groups,
        atomic_numbers=np.ones(n, dtype=int), energy=np.stack([np.zeros(n), error], axis=1),
        forces=np.full((n, 3, 2), np.nan), stress=np.full((n, 3, 3, 2), np.nan),
    )  # fmt: skip
    (words,) = offset_words(found, "training")
    assert "bad +470 meV" in words
    assert "1 of 2" in words


@pytest.mark.fault
def test_a_training_in_vain_says_so(settings, monkeypatch):
    """All updates lead away from the labels."""
    from tlpot.training import loop

    update = loop._Run.update
    monkeypatch.setattr(
        loop._Run, "update", lambda run, done: (update(run, done), _spoil_averages(run))
    )
    outcome = finetune(finetune_config(settings), show=False)
    assert outcome.training.best_epoch == 0
    card = load_potential(settings["output"], device="cpu").card
    assert any("NO UPDATE WAS KEPT" in warning for warning in card.metrics.get("warnings", ()))


def _spoil_averages(run):
    """Of the weights that are validated."""
    run.average.averages = {name: 1.5 * value for name, value in run.average.averages.items()}


@pytest.mark.fault
def test_an_element_that_is_only_held_out_is_warned_of(tmp_path, capsys):
    names = ("H2O", "H2", "CH4")
    path = springs(tmp_path / "three.xyz", 30, names=names)
    settings = toy_training(path, tmp_path, split={"validation": ["CH4"]})
    config = tmp_path / "train.yaml"
    config.write_text(json.dumps(settings))
    assert main(["train", str(config), "--dry-run"]) == 0
    assert "C is in the data" in capsys.readouterr().out
    assert main(["train", str(config), "--dry-run", "--strict"]) == 2
