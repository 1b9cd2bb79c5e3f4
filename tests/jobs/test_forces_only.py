"""Frames with forces but no energy are labels like any others."""

import json

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write

from tlpot.cli import main
from tlpot.data import make_split, open_dataset
from tlpot.models import load

pytestmark = [pytest.mark.train, pytest.mark.fault]
LEVEL = "emt"
SHIFT = ["--strategy", "shift"]
MODEL = [
    "model.preset=tiny", "training.epochs=2", "training.batch_size=4", "split.by=random",
    "split.validation=0.25",
]  # fmt: skip


def water(path, energies, n=12):
    """Frames with forces; of these `energies` say which have an energy, too."""
    frames = []
    for k in range(n):
        atoms = molecule("H2O")
        atoms.rattle(0.06, seed=k)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        atoms.arrays["forces"] = forces
        if energies(k):
            atoms.info["energy"] = energy
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return path


def none(k):
    return False


def half(k):
    return k % 2 == 0


@pytest.mark.parametrize("energies", [none, half])
def test_they_are_divided(tmp_path, energies):
    dataset = open_dataset(water(tmp_path / "a.xyz", energies), level=LEVEL)
    split = make_split(dataset, by="random", validation=3, test=2, labelled=LEVEL)
    assert (len(split.train), len(split.validation), len(split.test)) == (7, 3, 2)


@pytest.mark.parametrize("energies", [none, half])
def test_they_are_trained_on(tmp_path, monkeypatch, energies):
    monkeypatch.chdir(tmp_path)
    water(tmp_path / "a.xyz", energies)
    (tmp_path / "train.yaml").write_text(
        "data: {files: [a.xyz], level: emt}\noutput: m.safetensors\n"
    )
    assert main(["train", "train.yaml", "--device", "cpu", *MODEL]) == 0
    card = load("m.safetensors", device="cpu").card
    assert card.dataset["split"]["train"] + card.dataset["split"]["validation"] == 12
    report = json.loads((tmp_path / "m.run" / "report.json").read_text())
    assert np.isfinite(report["overall"]["forces_mae"])


def test_they_are_fine_tuned_on_from_several_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    water(tmp_path / "a.xyz", none, n=8)
    water(tmp_path / "b.xyz", half, n=10)
    command = ["finetune", "tlpot-tiny", "a.xyz", "b.xyz", "training.epochs=1", "--level", LEVEL]
    command += ["-o", "m.safetensors", "--device", "cpu", "split.by=random", "split.test=4"]
    command += ["split.validation=4", "report.enabled=false"]
    assert main(command) == 0
    split = json.loads((tmp_path / "m.run" / "split.json").read_text())
    assert sorted(split["train"] + split["validation"] + split["test"]) == list(range(18))
    assert main([*(word for word in command if "epochs" not in word), "--overwrite", *SHIFT]) == 0


def test_without_any_energy_the_reference_energies_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    water(tmp_path / "a.xyz", none)
    command = ["finetune", "tlpot-tiny", "a.xyz", "--level", LEVEL, "-o", "m.safetensors"]
    command += [
        "--device",
        "cpu",
        "split.by=random",
        "split.validation=4",
        "training.epochs=1",
        "report.md_steps=0",
    ]
    assert main(command) == 0
    assert "no training frame has an energy" in capsys.readouterr().out
    assert main([*(word for word in command if "epochs" not in word), "--overwrite", *SHIFT]) == 2
    assert "energy" in capsys.readouterr().err


RIDGE = ["--strategy", "frozen-ridge"]


@pytest.mark.parametrize("energies", [none, half])
def test_a_ridge_is_fitted_to_their_forces(tmp_path, monkeypatch, energies):
    """Frames with forces alone were left out of it, without a word."""
    monkeypatch.chdir(tmp_path)
    water(tmp_path / "a.xyz", energies)
    command = ["finetune", "tlpot-tiny", "a.xyz", "--level", LEVEL, "-o", "m.safetensors"]
    command += ["--device", "cpu", "split.by=random", "split.validation=4", "report.enabled=false"]
    assert main([*command, *RIDGE, "strategy.strength=1e-8"]) == 0
    model = load("m.safetensors", device="cpu")
    (correction,) = model.corrections(LEVEL)
    assert correction.info.fit["frames"] == 8
    report = json.loads((tmp_path / "m.run" / "report.json").read_text())
    assert report["overall"]["forces_mae"] < 200.0


@pytest.mark.parametrize("words", [SHIFT, [*RIDGE, "strategy.forces=false"]])
def test_it_is_said_how_many_are_left_out(tmp_path, monkeypatch, capsys, words):
    """The number of frames in the report was the only hint."""
    monkeypatch.chdir(tmp_path)
    water(tmp_path / "a.xyz", half)
    command = ["finetune", "tlpot-tiny", "a.xyz", "--level", LEVEL, "-o", "m.safetensors"]
    command += ["--device", "cpu", "split.by=random", "split.validation=4", "report.enabled=false"]
    assert main([*command, *words]) == 0
    assert "6 frames without an energy left out" in capsys.readouterr().out
