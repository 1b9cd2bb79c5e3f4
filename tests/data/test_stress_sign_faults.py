"""The sign and the unit of the stress, judged by the energies of strained crystals."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import GPa
from scipy.spatial.transform import Rotation

from tlpot.cli import main
from tlpot.data import find_problems, open_dataset
from tlpot.data.problems import label_problems
from tlpot.data.stress_sign import strained_pairs
from tlpot.errors import ConfigError

pytestmark = pytest.mark.fault
SIZE = {"ev/angstrom^3": 1.0, "gpa": 1 / GPa, "kbar": 10 / GPa}


def strained(n=16, *, rattle=0.05, turned=False, forces=True):
    """Copper and an alloy, strained in all directions, atoms moved, with the results of EMT."""
    rng = np.random.default_rng(0)
    turns = Rotation.random(n, random_state=0).as_matrix()
    found = []
    for k in range(n):
        atoms = bulk("Cu", cubic=True, a=3.65)
        if k % 2:
            atoms.symbols[0] = "Al"
        strain = np.eye(3) + rng.normal(0, 0.02, (3, 3))
        strain = strain @ turns[k] if turned else strain
        atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
        atoms.rattle(rattle, seed=k)
        atoms.positions += rng.integers(-1, 2, (4, 3)) @ atoms.cell.array
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "stress": atoms.get_stress()}
        if forces:
            results["forces"] = atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, **results)
        found.append(atoms)
    return found


def written(path, frames, *, unit="ev/angstrom^3", sign=1.0):
    """Writes them with another unit or sign of the stress."""
    plain = []
    for atoms in frames:
        bare = atoms.copy()
        bare.info |= {"energy": atoms.get_potential_energy()}
        bare.info["stress"] = sign * SIZE[unit] * atoms.get_stress(voigt=False)
        if "forces" in atoms.calc.results:
            bare.arrays["forces"] = atoms.get_forces()
        plain.append(bare)
    write(path, plain, format="extxyz")
    return path


def verdicts(path, **options):
    dataset = open_dataset(path, level="emt", **options)
    about = [p for p in find_problems(dataset) if "stress" in p.what]
    return [(p.severity, p.what) for p in about]


@pytest.mark.parametrize("options", [{}, {"turned": True}, {"rattle": 0.0, "forces": False}])
def test_a_stress_passes_in_any_orientation(tmp_path, options):
    """Nothing compared the stress with the energies."""
    assert verdicts(written(tmp_path / "a.xyz", strained(**options))) == []


def test_the_work_of_the_stress_is_the_change_of_the_energy():
    """Nothing compared the stress with the energies."""
    dataset = open_dataset(strained(turned=True, rattle=0.02), level="emt")
    pairs = strained_pairs(list(dataset), "emt")
    assert len(pairs) > 20
    ratios = [-pair.work / pair.change for pair in pairs]
    assert np.median(ratios) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("unit", SIZE)
def test_that_of_a_pressure_is_an_error(tmp_path, unit):
    """Stresses as VASP prints them, positive under compression, were learned in silence."""
    path = written(tmp_path / "a.xyz", strained(), unit=unit, sign=-1.0)
    severity, what = verdicts(path)[0]
    assert severity == "error"
    assert "compressive" in what
    assert (f"in {unit}" in what) == (unit != "ev/angstrom^3")


def test_training_on_it_is_refused(tmp_path, capsys):
    """Stresses as VASP prints them, positive under compression, were learned in silence."""
    path = written(tmp_path / "a.xyz", strained(), sign=-1.0)
    dataset = open_dataset(path, level="emt")
    assert [p.severity for p in label_problems(dataset, "emt", np.arange(16))] == ["error"]
    assert main(["data", "validate", str(path), "--level", "emt"]) == 2
    assert "sign of a pressure" in capsys.readouterr().out


def test_energies_per_atom_do_not_belong_to_the_stress(tmp_path):
    """Energies of crystals that are per atom passed."""
    frames = strained(24)
    for k, atoms in enumerate(frames):
        results = atoms.calc.results | {"energy": atoms.get_potential_energy() / 4}
        frames[k].calc = SinglePointCalculator(atoms, **results)
    ((severity, what),) = verdicts(written(tmp_path / "a.xyz", frames))
    assert severity == "warning"
    assert "per atom" in what


@pytest.mark.parametrize("unit", ["gpa", "kbar"])
def test_another_unit_is_warned_of_by_its_name(tmp_path, unit):
    """A file in GPa was read as eV/Å³ and passed."""
    path = written(tmp_path / "a.xyz", strained(), unit=unit)
    found = verdicts(path)
    assert {severity for severity, _ in found} == {"warning"}
    assert any(f"in {unit}" in what for _, what in found)
    keys = {"energy": "energy, ev", "forces": "forces, ev/angstrom", "stress": f"stress, {unit}"}
    assert verdicts(path, keys=keys) == []


def test_a_file_may_say_that_it_is_compressive(tmp_path):
    """There was no way to say it: the numbers had to be turned around by hand."""
    frames = strained()
    path = written(tmp_path / "a.xyz", frames, unit="kbar", sign=-1.0)
    keys = {
        "energy": "energy, ev", "forces": "forces, ev/angstrom",
        "stress": "stress, kB, compressive",
    }  # fmt: skip
    spec = {
        "container": "extxyz",
        "units": {
            "coordinates": "angstrom", "energy": "ev", "forces": "ev/angstrom", "stress": "kbar",
        },
        "sign": "force",
        "stress_sign": "compressive",
        "levels": {"emt": {"energy": "energy", "forces": "forces", "stress": "stress"}},
    }  # fmt: skip
    for options in ({"keys": keys}, {"spec": spec}):
        assert verdicts(path, **options) == []
        first = open_dataset(path, level="emt", **options)[0].labels["emt"]
        assert first.stress == pytest.approx(frames[0].get_stress(voigt=False), abs=1e-6)


def test_a_virial_beside_a_compressive_stress_has_its_own_sign(tmp_path):
    """There was no way to say it: the numbers had to be turned around by hand."""
    atoms = strained(1)[0]
    stress = atoms.get_stress(voigt=False)
    bare = atoms.copy()
    bare.info |= {
        "energy": 1.0, "stress": -stress * SIZE["kbar"], "virial": -stress * atoms.get_volume(),
    }  # fmt: skip
    write(tmp_path / "a.xyz", bare, format="extxyz")
    spec = {
        "container": "extxyz",
        "units": {"coordinates": "angstrom", "energy": "ev", "stress": "kbar"},
        "stress_sign": "compressive",
        "levels": {"emt": {"energy": "energy", "stress": "stress"}},
    }
    found = open_dataset(tmp_path / "a.xyz", spec).read([0])[0].labels["emt"]
    assert found.stress == pytest.approx(stress, rel=1e-6)
    keys = {"energy": "energy, ev", "stress": "virial, compressive"}
    with pytest.raises(ConfigError, match="compressive"):
        open_dataset(tmp_path / "a.xyz", level="emt", keys=keys)


@pytest.mark.control
def test_too_few_cells_say_nothing(tmp_path):
    ((severity, what),) = verdicts(written(tmp_path / "a.xyz", strained(4), sign=-1.0))
    assert severity == "note"
    assert "could not be judged" in what


@pytest.mark.control
def test_molecules_without_stress_are_not_asked(tmp_path):
    atoms = molecule("H2O")
    atoms.info["energy"] = -2000.0
    write(tmp_path / "a.xyz", [atoms], format="extxyz")
    assert verdicts(tmp_path / "a.xyz") == []
