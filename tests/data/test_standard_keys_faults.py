"""ASE's own results are no warning, and what is warned of is said once."""

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tlpot.cli import main


def results(path, **info):
    """Four frames as ASE writes them with all results of a calculator."""
    frames = []
    for k in range(4):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=k)
        atoms.calc = SinglePointCalculator(
            atoms, energy=-2079.0 + k, free_energy=-2079.1 + k, energies=np.full(3, -693.0),
            forces=np.zeros((3, 3)),
        )  # fmt: skip
        atoms.info.update(info)
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return str(path)


@pytest.mark.fault
@pytest.mark.parametrize("action", ["info", "validate"])
def test_results_of_ase_are_no_warning(tmp_path, capsys, action):
    path = results(tmp_path / "a.xyz")
    assert main(["data", action, path, "--level", "a/b", "--strict"]) == 0
    shown = capsys.readouterr()
    assert "warning:" not in shown.out + shown.err
    assert "free_energy" in shown.out
    assert "energies" in shown.out


def test_a_free_energy_without_an_energy_is_warned_of(tmp_path, capsys):
    frame = molecule("H2O")
    frame.calc = SinglePointCalculator(frame, free_energy=-2079.0, forces=np.zeros((3, 3)))
    write(tmp_path / "a.xyz", frame, format="extxyz")
    assert main(["data", "info", str(tmp_path / "a.xyz"), "--level", "a/b", "--strict"]) == 2
    assert "free_energy" in capsys.readouterr().err


@pytest.mark.fault
@pytest.mark.parametrize("command", ["info", "validate", "convert", "split"])
def test_a_warning_is_said_once(tmp_path, capsys, command):
    # forces that are misnamed, in a file that has none
    frames = [molecule("H2O") for _ in range(20)]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=k)
        atoms.info["energy"] = -2079.0
        atoms.arrays["dft_forces"] = np.full((3, 3), 0.1 * k)
    write(tmp_path / "a.xyz", frames, format="extxyz")
    out = {"convert": ["-o", str(tmp_path / "b.h5")], "split": ["-o", str(tmp_path / "s.json")]}
    words = ["data", command, str(tmp_path / "a.xyz"), "--level", "a/b", *out.get(command, [])]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("looks like forces") == 1
    assert main([*words, "--strict"]) == 2


@pytest.mark.fault
def test_a_training_says_a_warning_once(tmp_path, capsys):
    frames = [molecule("H2O") for _ in range(20)]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=k)
        atoms.info["energy"] = -2079.0
        atoms.arrays["dft_forces"] = np.full((3, 3), 0.1 * k)
    write(tmp_path / "a.xyz", frames, format="extxyz")
    words = ["finetune", "tlpot-tiny", str(tmp_path / "a.xyz"), "--level", "a/b", "--dry-run"]
    assert main([*words, "-o", str(tmp_path / "m.safetensors")]) == 0
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("looks like forces") == 1
