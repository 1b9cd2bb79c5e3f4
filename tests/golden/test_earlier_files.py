"""Files that an earlier tlpot wrote (see make.py) open, mean the same, and are gone on with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read
from needs import needs

import tlpot
from tlpot.cli import main

FILES = Path(__file__).parent / "files"
EXPECTED = json.loads((FILES / "expected.json").read_text())
MODELS = [key for key in EXPECTED["energies"] if not key.startswith("member")]


@pytest.fixture
def files(tmp_path):
    """A copy in which a test may write."""
    return shutil.copytree(FILES, tmp_path / "files")


def methanol(path, level=None):
    atoms = molecule("CH3OH")
    atoms.calc = tlpot.TLPotCalculator(path, level=level, device="cpu", dtype="float64")
    return atoms


@pytest.mark.parametrize("key", MODELS)
def test_models_say_the_same(key):
    path, level = key.split(" ")
    atoms, expected = methanol(FILES / path, level), EXPECTED["energies"][key]
    assert atoms.get_potential_energy() == pytest.approx(expected["energy"], abs=1e-6)
    if "forces" in expected:
        assert np.abs(atoms.get_forces()).max() == pytest.approx(expected["forces"], abs=1e-6)
    if "energy_std" in expected:
        std = atoms.calc.results["energy_std"]
        assert std == pytest.approx(expected["energy_std"], rel=1e-5)


@pytest.mark.parametrize("name", EXPECTED["frames"])
def test_datasets_hold_the_same(name):
    dataset, expected = tlpot.open_dataset(FILES / name), EXPECTED["frames"][name]
    assert len(dataset) == expected["frames"]
    assert sorted(dataset.levels) == expected["levels"]


@pytest.mark.train
def test_an_interrupted_training_is_gone_on_with(files, monkeypatch):
    folder = files / "interrupted"
    before = (folder / "potential.run" / "metrics.jsonl").read_text().splitlines()
    monkeypatch.chdir(folder)
    assert main(["train", "train.yaml", "--device", "cpu", "--resume"]) == 0
    after = (folder / "potential.run" / "metrics.jsonl").read_text().splitlines()
    assert after[: len(before)] == before
    atoms, expected = methanol(folder / "potential.safetensors"), EXPECTED["resumed"]
    # other processors round differently, which the rest of the training amplifies
    assert atoms.get_potential_energy() == pytest.approx(expected["energy"], abs=1e-2)
    assert np.abs(atoms.get_forces()).max() == pytest.approx(expected["forces"], abs=1e-2)


def test_a_finished_build_has_nothing_to_do(files, monkeypatch, capsys):
    needs("tblite")
    monkeypatch.chdir(files)
    before = {p: p.stat().st_mtime_ns for p in (files / "build").rglob("*.safetensors")}
    assert main(["build", "build.yaml", "--device", "cpu"]) == 0
    assert {p: p.stat().st_mtime_ns for p in (files / "build").rglob("*.safetensors")} == before


def test_a_curve_is_added_to(files, monkeypatch):
    monkeypatch.chdir(files)
    before = {p: p.read_text() for p in (files / "curve" / "points").iterdir()}
    command = ["curve", "potential.safetensors", "labels.h5", "--level", "ccsd(t)/cbs(dt)"]
    command += ["--strategies", "full", "--sizes", "8", "16", "24", "--seeds", "1"]
    command += ["--updates", "5", "-o", "curve", "split.by=random", "split.validation=12"]
    assert main([*command, "split.test=4", "--device", "cpu"]) == 0
    points = {p: p.read_text() for p in (files / "curve" / "points").iterdir()}
    assert len(points) == len(before) + 1
    assert before.items() <= points.items()


def test_a_dynamics_is_gone_on_with(files, monkeypatch):
    monkeypatch.chdir(files)
    before = read("md.xyz", ":")
    command = ["md", "CH3OH", "potential.safetensors", "--ensemble", "langevin", "--seed", "3"]
    command += ["--log-every", "5", "--steps", "20", "--out", "md", "--resume"]
    assert main([*command, "--device", "cpu"]) == 0
    found = read("md.xyz", ":")
    assert len(found) == len(read("whole-md.xyz", ":"))
    for one, other in zip(found, before, strict=False):  # the noise after them is drawn anew
        assert one.positions == pytest.approx(other.positions, abs=1e-12)
