"""Units and electrons that cannot be right: what validate says, and that real data pass."""

import json

import h5py
import numpy as np
import pytest
from ase.build import molecule
from ase.units import Bohr, Hartree, kcal, mol

from tlpot.data import find_problems, open_dataset

ATOMS = {1: -13.6, 6: -1029.5, 7: -1485.0, 8: -2042.0}
"""eV; close to what any all-electron method gives."""
LEVEL = "toy"


def file_of(path, names=("CH4", "CH3CH2OH", "H2O", "CH3NO2"), *, energy=1.0, atoms=1.0, **contents):
    """Molecules with a made-up 4.5 eV per bond; numbers are divided by `energy` and `atoms`."""
    rng = np.random.default_rng(0)
    scale = contents.pop("length", 1.0)
    with h5py.File(path, "w") as handle:
        handle.attrs["levels"] = json.dumps({"toy": LEVEL})
        handle.attrs["units"] = json.dumps({"coordinates": "angstrom", "energy": "ev"})
        symbols = {"H": 1, "C": 6, "N": 7, "O": 8}
        handle.attrs["isolated_atoms"] = json.dumps(
            {symbol: {"toy.energy": ATOMS[z] / atoms} for symbol, z in symbols.items()}
        )
        for name in names:
            system = molecule(name)
            group = handle.create_group(name)
            group["atomic_numbers"] = system.numbers
            positions = system.positions + 0.03 * rng.normal(size=(8, len(system), 3))
            group["coordinates"] = positions * scale
            total = sum(ATOMS[z] for z in system.numbers.tolist()) - 4.5 * (len(system) - 1)
            group["toy.energy"] = (total + 0.1 * rng.normal(size=8)) / energy
            for key, value in contents.items():
                group[key] = value
    return open_dataset(path)


def found(dataset):
    return [(p.severity, p.what) for p in find_problems(dataset)]


def test_sound_files_pass(tmp_path):
    assert found(file_of(tmp_path / "a.h5")) == []


@pytest.mark.parametrize(
    ("length", "what"),
    [
        (1 / Bohr, "positions in bohr were read as angstrom"),
        (Bohr, "positions in angstrom were read as bohr"),
        (0.1, "positions in nm were read as angstrom"),
        (10.0, "positions in angstrom were read as nm"),
    ],
)
def test_positions_in_another_unit_are_an_error(tmp_path, length, what):
    errors = [w for s, w in found(file_of(tmp_path / "a.h5", length=length)) if s == "error"]
    assert [what in error for error in errors].count(True) == 1
    assert not [error for error in errors if "energies are" in error]


def hydrogen(path, distances):
    """A toy file of H2, all energies zero."""
    with h5py.File(path, "w") as handle:
        handle.attrs["levels"] = '{"toy": "toy"}'
        handle.attrs["units"] = '{"coordinates": "angstrom", "energy": "ev"}'
        group = handle.create_group("H2")
        group["atomic_numbers"] = [1, 1]
        group["coordinates"] = np.array([[[0, 0, 0], [0, 0, d]] for d in distances])
        group["toy.energy"] = np.zeros(len(distances))
    return open_dataset(path)


def test_few_small_molecules_are_no_proof(tmp_path):
    ((severity, what),) = found(hydrogen(tmp_path / "a.h5", (1.2, 1.25, 1.3)))
    assert severity == "warning"
    assert "in bohr" in what


def test_a_dissociation_curve_is_no_mistake(tmp_path):
    assert found(hydrogen(tmp_path / "a.h5", np.linspace(0.6, 5.0, 20))) == []


@pytest.mark.parametrize(
    ("energy", "what"),
    [
        (Hartree, "hartree were read as ev"),
        (kcal / mol, "kcal/mol were read as ev"),
        (1 / Hartree, "ev were read as hartree"),
    ],
)
@pytest.mark.parametrize("atoms_too", [True, False])
def test_energies_in_another_unit_are_a_warning(tmp_path, energy, what, atoms_too):
    dataset = file_of(tmp_path / "a.h5", energy=energy, atoms=energy if atoms_too else 1.0)
    ((severity, said),) = found(dataset)
    assert severity == "warning"
    assert what in said
    assert ("for each bond" in said) == atoms_too


@pytest.mark.fault
def test_energies_per_atom_are_named_beside_the_free_atoms(tmp_path):
    """Energies per atom were called by units that do not fit, or passed."""
    path = file_of(tmp_path / "a.h5").path
    with h5py.File(path, "a") as handle:
        for group in handle.values():
            group["toy.energy"][...] /= len(group["atomic_numbers"])
    ((severity, said),) = found(open_dataset(path))
    assert severity == "warning"
    assert "as if energies per atom were read as those of whole structures;" in said


def test_energies_relative_to_something_else_are_passed_over(tmp_path):
    """As plane-wave programs give them: atoms about 0, molecules a few eV for each atom."""
    path = file_of(tmp_path / "a.h5").path
    with h5py.File(path, "a") as handle:
        atoms = {symbol: {"toy.energy": -0.1} for symbol in ("H", "C", "N", "O")}
        handle.attrs["isolated_atoms"] = json.dumps(atoms)
        for group in handle.values():
            group["toy.energy"][...] = -5.0 * (len(group["atomic_numbers"]) - 1)
    assert found(open_dataset(path)) == []


@pytest.mark.parametrize(
    ("names", "charge", "spin", "expected"),
    [
        (["CH4"], 0, 1, []),
        (["CH4"], 1, 2, []),
        (["CH4"], -1, 2, []),
        (["CH4"], 0, 3, []),
        (["CH3"], 0, 2, []),
        (["CH3"], 0, 1, ["warning"]),
        (["CH4"], 1, 1, ["error"]),
        (["CH4"], 0, 2, ["error"]),
        (["CH4"], 0, 0, ["error"]),
        (["CH4"], 0, -1, ["error"]),
        (["H2O"], 9, 4, ["error"]),
        (["H2O"], 11, 1, ["error"]),
    ],
)
def test_multiplicities_fit_the_electrons(tmp_path, names, charge, spin, expected):
    problems = find_problems(file_of(tmp_path / "a.h5", names, charge=charge, spin=spin))
    assert [p.severity for p in problems] == expected
    for problem in problems:
        assert len(problem.frames) == 8
        assert "multiplicity" in problem.what or "charge" in problem.what


def suspicious(dataset):
    problems = find_problems(dataset)
    return [p.what for p in problems if "as if" in p.what or "multiplicity" in p.what]


def test_real_data_pass(data_dir):
    acac = [data_dir / "acac" / "train_300K.xyz", data_dir / "acac" / "isolated_atoms.xyz"]
    assert not suspicious(open_dataset(acac, level="pbe-d3/def2-svp"))
    assert not suspicious(open_dataset(data_dir / "tlpot-qm" / "tlpot-qm.h5"))
    assert not suspicious(open_dataset(data_dir / "s66x8" / "s66x8_wb97x6-31gd.h5", "comp6"))
    (path,) = (data_dir / "vpt2-tl").glob("hono_ccf12*")
    assert not suspicious(open_dataset(path, "physnet", level="ccsd(t)-f12/aug-cc-pvtz-f12"))


@pytest.mark.parametrize(
    ("zeros", "what"),
    [
        (1, "total energies were read as relative to the free atoms (energy_zero)"),
        (-1, "energies relative to the free atoms were read as total (energy_zero)"),
    ],
)
def test_energies_with_another_zero_are_a_warning(tmp_path, zeros, what):
    path = tmp_path / "a.h5"
    file_of(path)
    with h5py.File(path, "a") as handle:
        for group in handle.values():
            atoms = sum(ATOMS[z] for z in group["atomic_numbers"][:].tolist())
            group["toy.energy"][...] += zeros * atoms
    ((severity, said),) = found(open_dataset(path))
    assert severity == "warning"
    assert what in said
