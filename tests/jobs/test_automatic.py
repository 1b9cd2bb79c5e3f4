"""The choice of a strategy: by folds of the training frames, resumable, with its reason."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from needs import needs
from shipped_levels import DFT

from tlpot.data import kept_kinds, make_split, open_dataset
from tlpot.errors import ConfigError
from tlpot.jobs import choose_strategy, finetune, finetune_config, trial_errors
from tlpot.jobs import strategy_choice as automatic
from tlpot.jobs.strategy_choice import config_for

pytestmark = pytest.mark.train

AUTO = {"name": "auto", "folds": 2, "epochs": 2, "candidates": ["head", "full"]}


def choose(settings, trial=trial_errors):
    return choose_strategy(finetune_config(settings), trial)


def test_candidates_are_compared_with_the_shift_on_folds(settings):
    choice = choose({**settings, "strategy": AUTO})
    assert set(choice.errors) == {"shift", "head", "full"}
    assert choice.errors["shift"] == [1.0, 1.0]
    able = [name for name, row in choice.kinds.items() if max(row.values()) <= 1.001]
    means = {name: np.mean(choice.errors[name]) for name in able}
    best = min(means, key=means.get)
    assert means[choice.name] <= means[best] + np.std(choice.errors[best], ddof=1) / np.sqrt(2)
    for word in (choice.name, "24 training frames", "head", "full"):
        assert word in choice.table()


def test_trials_are_kept(settings):
    first = choose({**settings, "strategy": AUTO})
    again = choose({**settings, "strategy": AUTO}, trial=None)
    assert again == first
    with pytest.raises(TypeError):
        choose({**settings, "strategy": {**AUTO, "epochs": 3}}, trial=None)


def test_the_simplest_of_equals_is_taken(settings, monkeypatch):
    errors = {"shift": 2.0, "head": 1.01, "full": 1.0}

    def trial(config, trial, dataset, split, parts, k, folder):
        return {"energy_per_atom_mae": errors[config.strategy] * (1 + 0.1 * k)}

    monkeypatch.setattr(automatic, "_errors", trial)
    assert choose({**settings, "strategy": AUTO}).name == "full"
    noise = iter((1.0, 1.0, 0.6, 0.4, 0.5, 0.45))
    monkeypatch.setattr(
        automatic, "_errors", lambda *arguments: {"energy_per_atom_mae": next(noise)}
    )
    choice = choose({**settings, "strategy": AUTO})
    assert choice.name == "head"
    assert "simplest within one standard error" in choice.reason


def test_the_difference_is_a_candidate_where_it_applies(settings, monkeypatch):
    def trial(config, trial, dataset, split, parts, k, folder):
        return {"energy_per_atom_mae": 1.0 if config.strategy in ("gain", "full") else 2.0}

    monkeypatch.setattr(automatic, "_errors", trial)
    choice = choose({**settings, "strategy": "auto"})
    tried = {"shift", "frozen-ridge", "head", "gain", "lora", "full", "delta"}
    assert {*choice.errors} == tried
    assert choice.name == "gain"  # simpler than full, whatever the order of the registry
    choice = choose({**settings, "references": "isolated", "strategy": "auto"})
    assert {*choice.errors} == tried - {"delta"}


def test_the_errors_of_a_difference_are_those_of_the_sum(settings):
    section = {**AUTO, "candidates": ["delta"]}
    choice = choose({**settings, "strategy": section})
    # two epochs cannot be far from new reference energies, which is where both start
    assert choice.errors["delta"] == pytest.approx([1.0, 1.0], abs=0.5)


def test_too_few_frames(settings):
    split = {**settings["split"], "train": 5}
    choice = choose({**settings, "split": split, "strategy": AUTO})
    assert choice.name == "shift"
    assert "5 training frames are too few" in choice.table()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({**AUTO, "folds": 1}, "expected 2 or more"),
        ({**AUTO, "candidates": ["ful"]}, "did you mean 'full'"),
        ({**AUTO, "fold": 2}, "did you mean 'folds'"),
    ],
)
def test_wrong_settings(settings, section, message):
    with pytest.raises(ConfigError, match=message):
        choose({**settings, "strategy": section})


def test_a_configuration_holds_auto_like_any_strategy(settings):
    chosen = finetune_config({**settings, "strategy": {**AUTO, "candidates": ["head"]}})
    outcome = finetune(chosen, show=False)
    name = outcome.potential.card.recipe["strategy"]["name"]
    assert name in ("shift", "head")
    assert (Path(settings["output"]).with_suffix(".run") / "auto").is_dir()


def test_the_closed_form_is_a_candidate_that_makes_no_steps(settings):
    section = {**AUTO, "candidates": ["frozen-ridge"]}
    anchored = {**settings, "anchor": 1e-3, "strategy": section}
    choice = choose(anchored)
    assert set(choice.errors) == {"shift", "frozen-ridge"}
    assert np.mean(choice.errors["frozen-ridge"]) < 1.0
    config = finetune_config(anchored)
    chosen = config_for(config, "frozen-ridge")
    assert chosen.training == {}
    assert chosen.anchor is None
    trained = config_for(config, "full", epochs=7)
    assert trained.training == {**settings["training"], "epochs": 7}
    assert trained.anchor == 1e-3


def test_a_candidate_that_cannot_be_compared_is_refused(settings):
    needs("sklearn")
    section = {**AUTO, "candidates": ["frozen-forest"]}
    with pytest.raises(ConfigError, match="'frozen-forest' has no forces_mae"):
        choose({**settings, "level": DFT, "strategy": section})


@pytest.mark.fault
@pytest.mark.parametrize("by", ["trajectory", "random"])
def test_folds_keep_together_what_the_split_does(by):
    """Runs, and structures that are there twice, were in training and test of the same trial."""
    frames = []
    for k in range(36):
        places = np.random.default_rng(k % 18).normal(size=(3, 3)) * 3.0
        frames.append(Atoms("OH2", places, info={"energy": float(k), "trajectory": f"run{k % 6}"}))
    dataset = open_dataset(frames, level="dft")
    split = make_split(dataset, by=by, validation=6, test=6)
    whole = kept_kinds(dataset, by) if by == "trajectory" else np.arange(36) % 18
    owners = [set(whole[part].tolist()) for part in automatic._folds(dataset, split, 3)]
    assert sum(map(len, owners)) == len(set.union(*owners))
