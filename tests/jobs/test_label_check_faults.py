"""Labels that cannot be right are refused before a training, as `tlpot data validate` does."""

import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write

from tlpot.cli import main

MODEL = "tlpot-tiny"


def water(path, *, sign=1.0, energy=1.0, n=24, **info):
    frames = []
    for k in range(n):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=k)
        atoms.calc = EMT()
        value, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        atoms.arrays["forces"] = sign * forces
        atoms.info["energy"] = (value - 2079.0) * energy
        atoms.info.update(info)
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return path


def prepared(path, command="finetune", *options):
    words = ["--level", "a/b", "--dry-run", "split.by=random", *options]
    if command == "finetune":
        return main(["finetune", MODEL, str(path), "-o", str(path.with_suffix(".safetensors")),
                     *words])  # fmt: skip
    config = path.with_suffix(".yaml")
    config.write_text(
        f"data: {{files: [{path}], level: a/b}}\nlevel: a/b\n"
        f"output: {path.with_suffix('.safetensors')}\nmodel: {{preset: tiny}}\n"
    )
    return main(["train", str(config), "--dry-run", "split.by=random", *options])


@pytest.mark.fault
@pytest.mark.parametrize("command", ["finetune", "train"])
def test_gradients_in_place_of_forces_are_refused(tmp_path, capsys, command):
    assert prepared(water(tmp_path / "a.xyz", sign=-1.0), command) == 2
    assert "gradient" in capsys.readouterr().err


@pytest.mark.control
@pytest.mark.parametrize("command", ["finetune", "train"])
def test_forces_pass(tmp_path, capsys, command):
    assert prepared(water(tmp_path / "a.xyz"), command) == 0
    assert "gradient" not in capsys.readouterr().out


@pytest.mark.fault
def test_energies_in_another_unit_are_warned_of(tmp_path, capsys):
    path = water(tmp_path / "a.xyz", energy=1 / 27.2114)
    assert prepared(path) == 0
    assert "hartree were read as ev" in capsys.readouterr().out
    assert prepared(path, "finetune", "--strict") == 2


@pytest.mark.fault
def test_an_odd_number_of_electrons_without_multiplicity_is_said(tmp_path, capsys):
    radicals = []
    for k in range(12):
        atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.95 + 0.01 * k]])
        atoms.info.update(energy=-2059.0 + 0.01 * k)
        radicals.append(atoms)
    path = tmp_path / "a.xyz"
    write(path, radicals, format="extxyz")
    assert prepared(path) == 0
    assert "odd number of electrons" in capsys.readouterr().out
