"""A split by molecule leaves training every element, and its errors name what can be typed."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

from tlpot.cli import main
from tlpot.data import make_split, open_dataset
from tlpot.jobs import SplitSettings

MOLECULES = ("CH4", "C2H6", "H2O", "CH3OH", "NH3", "CH3Cl", "C2H4", "H2CO", "HCOOH", "CH3CHO")
"""Of ten, nitrogen and chlorine are in one each."""


def written(path, names=MOLECULES, n=4):
    frames = []
    for name in names:
        for k in range(n):
            atoms = molecule(name) if isinstance(name, str) else name.copy()
            atoms.rattle(0.05, seed=k)
            atoms.info["energy"] = -float(k)
            frames.append(atoms)
    write(path, frames, format="extxyz")
    return path


def elements(dataset, frames):
    return {int(z) for f in dataset.read(frames) for z in f.system.atomic_numbers}


@pytest.mark.fault
@pytest.mark.parametrize("test", [0.0, 0.2])
def test_training_keeps_every_element(tmp_path, test):
    dataset = open_dataset(written(tmp_path / "a.xyz"), level="a/b")
    for seed in range(30):
        split = make_split(dataset, validation=0.2, test=test, seed=seed)
        assert elements(dataset, split.train) == {1, 6, 7, 8, 17}
        assert len(split.validation) == 8
        assert len(split.test) == 40 * test


@pytest.mark.fault
def test_a_pair_of_molecules_with_an_element_is_not_held_out_as_a_whole(tmp_path):
    names = ("CH4", "NH3", "CH3NO2", "H2O", "C2H6", "CH3OH")
    dataset = open_dataset(written(tmp_path / "a.xyz", names), level="a/b")
    for seed in range(20):
        split = make_split(dataset, validation=1 / 6, test=1 / 6, seed=seed)
        assert 7 in elements(dataset, split.train)


@pytest.mark.control
def test_a_split_that_lacks_nothing_is_what_it_was(tmp_path):
    names = ("CH4", "C2H6", "C3H8", "CH3OH", "H2O", "C2H4", "H2CO", "HCOOH", "CH3CHO", "C2H2")
    dataset = open_dataset(written(tmp_path / "a.xyz", names), level="a/b")
    split = make_split(dataset, validation=0.2, test=0.2, seed=5)
    order = np.random.default_rng(5).permutation(10)
    assert set(dataset.group_idx[split.test]) == set(order[:2])
    assert set(dataset.group_idx[split.validation]) == set(order[2:4])


def test_old_defaults_and_names_take_what_they_took(tmp_path):
    dataset = open_dataset(written(tmp_path / "a.xyz"), level="a/b")
    lacking = []
    for seed in range(10):
        settings = SplitSettings(seed=seed)
        old = settings.divide(dataset, "a/b", keep_elements=False)
        first = np.random.default_rng(seed).permutation(10)[0]
        assert set(dataset.group_idx[old.validation]) == {first}
        lacking.append(elements(dataset, old.train) != {1, 6, 7, 8, 17})
    assert any(lacking)
    named = make_split(dataset, validation=("H3N",), test=("CH3Cl",))
    assert elements(dataset, named.validation) == {1, 7}


@pytest.mark.fault
def test_what_cannot_be_kept_is_said(tmp_path, capsys):
    path = written(tmp_path / "a.xyz", ("CH4", "NH3", "H2O"))
    words = ["data", "split", str(path), "--level", "a/b", "--validation", "4", "--test", "0"]
    words += ["--by", "molecule"]
    assert main([*words, "-o", str(tmp_path / "s.json")]) == 0
    assert "no training frame" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "strict.json"), "--strict"]) == 2
    assert not (tmp_path / "strict.json").exists()


@pytest.mark.fault
def test_elements_of_random_frames_are_kept(tmp_path):
    salt = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]])
    frames = [molecule("CH4") for _ in range(9)]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=k)
    frames.append(salt)
    for atoms in frames:
        atoms.info["energy"] = -1.0
    write(tmp_path / "a.xyz", frames, format="extxyz")
    dataset = open_dataset(tmp_path / "a.xyz", level="a/b")
    for seed in range(20):
        split = make_split(dataset, by="random", validation=0.2, test=0.2, seed=seed)
        assert 11 in elements(dataset, split.train)
        assert (len(split.validation), len(split.test)) == (2, 2)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("names", "n", "settings", "key"),
    [
        (("CH4", "H2O", "NH3"), 10, ["split.validation=0.1"], "split.validation=10"),
        (("CH4", "H2O"), 4, ["split.validation=4", "split.test=4"], "split.test=..."),
        (("CH4", "H2O"), 4, ["split.validation=9"], "split.validation=..."),
        (("CH4",), 1, ["split.validation=2"], "split.validation=..."),
    ],
)
def test_messages_name_the_key_as_it_is_typed(tmp_path, capsys, names, n, settings, key):
    path = written(tmp_path / "a.xyz", names, n)
    command = [
        "finetune",
        "tlpot-tiny",
        str(path),
        "--level",
        "a/b",
        "--dry-run",
        "split.by=molecule",
    ]
    assert main([*command, "-o", str(tmp_path / "m.safetensors"), *settings]) == 2
    error = capsys.readouterr().err
    assert key in error
    assert "1 frames" not in error
    options = [word.replace("split.", "--") for word in settings]
    words = [part for option in options for part in option.split("=")]
    command = ["data", "split", str(path), "--level", "a/b", "-o", str(tmp_path / "s.json")]
    assert main([*command, "--by", "molecule", "--test", "0", *words]) == 2
    assert key.replace("split.", "--").replace("=", " ") in capsys.readouterr().err


def test_what_a_message_proposes_works(tmp_path, capsys):
    path = written(tmp_path / "a.xyz", ("CH4", "H2O", "NH3"), 10)
    command = ["data", "split", str(path), "--level", "a/b", "--by", "molecule", "--test", "0"]
    out = tmp_path / "s.json"
    assert main([*command, "-o", str(out)]) == 2
    assert "--validation 10" in capsys.readouterr().err
    assert main([*command, "-o", str(out), "--validation", "10"]) == 0
    assert len(json.loads(out.read_text())["validation"]) == 10


def test_one_frame_cannot_be_divided(tmp_path, capsys):
    path = written(tmp_path / "a.xyz", ("CH4",), 1)
    command = ["data", "split", str(path), "--level", "a/b", "-o", str(tmp_path / "s.json")]
    assert main(command) == 2
    assert "add frames" in capsys.readouterr().err
