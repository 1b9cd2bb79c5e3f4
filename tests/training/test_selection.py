"""Which weights a training keeps."""

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

from tlpot.data import make_split, open_dataset
from tlpot.training import Selection, make_selection

START = {"energy_mae": 10.0, "forces_mae": 100.0}


def test_a_score_is_relative_to_the_start_in_every_kind():
    selection = Selection()
    assert selection.score(START, START) == 1.0
    assert selection.score({"energy_mae": 2.5, "forces_mae": 100.0}, START) == pytest.approx(0.5)


def test_no_kind_pays_for_another():
    paid = {"energy_mae": 11.0, "forces_mae": 1.0}
    assert Selection().score(paid, START) == pytest.approx(1.1)
    assert Selection().score(paid, START, bounded=False) < 0.2
    assert Selection(kinds=("forces",)).score(paid, START) == pytest.approx(0.01)


def test_nothing_to_go_by_is_nan():
    assert np.isnan(Selection(kinds=("stress",)).score(START, START))


def test_a_perfect_start_is_not_divided_by():
    exact = {"energy_mae": 0.0, "forces_mae": 100.0}
    assert Selection().score(exact, exact) <= 1.0
    assert Selection().score({**exact, "energy_mae": 1e-3}, exact) > 1.0


def test_no_level_pays_for_another():
    both = Selection(levels=("low", "high"))
    start = {**START, "high energy_mae": 50.0, "high forces_mae": 5.0}
    better = {name: 0.5 * error for name, error in start.items()}
    assert both.score(better, start) == pytest.approx(0.5)
    assert both.score({**better, "high energy_mae": 60.0}, start) == pytest.approx(1.2)
    assert Selection().score({**better, "high energy_mae": 60.0}, start) == pytest.approx(0.5)


@pytest.fixture
def dataset(tmp_path):
    """Thirty energies, every third with forces."""
    rng = np.random.default_rng(0)
    frames = []
    for k in range(30):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=k)
        atoms.info["energy"] = -10.0 + rng.normal()
        if k % 3 == 0:
            atoms.arrays["forces"] = rng.normal(size=(3, 3))
        frames.append(atoms)
    write(tmp_path / "water.xyz", frames, format="extxyz", write_results=False)
    return open_dataset(tmp_path / "water.xyz", level="toy")


def test_training_frames_help_a_few_validation_frames(dataset):
    split = make_split(dataset, validation=4, test=0, by="random", seed=0)
    chosen = make_selection(dataset, split, ["toy"], ("energy", "forces"))
    assert set(chosen.support) <= set(split.train)
    both = np.concatenate([split.validation, chosen.support])
    assert dataset.labelled("toy")[both].sum() >= 20
    assert dataset.labelled("toy", "forces")[both].sum() == 10, "all that there are"
    assert chosen.supported == {"toy": ("energy", "forces")}


def test_enough_validation_frames_decide_alone(dataset):
    split = make_split(dataset, validation=20, test=0, by="random", seed=0)
    chosen = make_selection(dataset, split, ["toy"], ("energy",))
    assert not len(chosen.support)
    assert not chosen.supported


@pytest.mark.fault
def test_a_level_without_a_kind_of_label_asks_for_no_help(tmp_path):
    """Several levels of which one has energies only ended in a KeyError at the first validation."""
    rng = np.random.default_rng(0)
    frames = []
    for k in range(30):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=k)
        atoms.info.update(low=-10.0 + rng.normal(), high=-11.0 + rng.normal())
        atoms.arrays["low_forces"] = rng.normal(size=(3, 3))
        frames.append(atoms)
    spec = {
        "container": "extxyz",
        "sign": "force",
        "units": {"coordinates": "angstrom", "energy": "ev", "forces": "ev/angstrom"},
        "levels": {"low": {"energy": "low", "forces": "low_forces"}, "high": {"energy": "high"}},
    }
    dataset = open_dataset(frames, spec)
    split = make_split(dataset, validation=20, test=0, by="random", seed=0)
    chosen = make_selection(dataset, split, ["low", "high"], ("energy", "forces"))
    assert not len(chosen.support)
    assert not chosen.supported
