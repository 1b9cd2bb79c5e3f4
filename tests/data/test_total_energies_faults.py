"""Total energies in another unit, where a file has neither free atoms nor forces."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.units import Hartree, kcal, mol

from tlpot.cli import main
from tlpot.data.unit_checks import TotalEnergyCheck

PBE = {"H2O": -76.33, "CH4": -40.47, "NH3": -56.50, "CH3OH": -115.62, "CO2": -188.44, "N2": -109.44}
"""Hartree, rounded; all electrons."""
GFN2 = {"H2O": -5.07, "CH4": -4.18, "NH3": -4.43, "CH3OH": -8.22, "CO2": -10.31, "N2": -6.33}
VASP = {"H2O": -14.22, "CH4": -24.04, "NH3": -19.54, "CH3OH": -30.2, "CO2": -22.96, "N2": -16.64}
"""eV, relative to what the projectors have."""
ATOMISATION = {"H2O": -10.1, "CH4": -18.2, "NH3": -12.9, "CH3OH": -22.2, "CO2": -17.0, "N2": -9.9}
CORE = {"H2O": -17.22, "CH4": -8.08, "NH3": -11.72, "CH3OH": -24.05, "CO2": -37.8, "N2": -19.9}


def written(path, energies, factor=1.0):
    """One frame without forces for each molecule, energies times a factor."""
    rows = []
    for name, energy in energies.items():
        atoms = molecule(name)
        rows.append(f"{len(atoms)}\nenergy={energy * factor!r} Properties=species:S:1:pos:R:3")
        rows += [
            f"{s} {x} {y} {z}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
        ]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def validated(path, capsys):
    assert main(["data", "validate", path, "--level", "a/b"]) == 0
    return capsys.readouterr().out


@pytest.mark.fault
@pytest.mark.parametrize("energies", [PBE, GFN2, {"H2O": -76.33}, {"C6H6": -232.1}])
def test_energies_in_hartree_are_warned_of(tmp_path, capsys, energies):
    assert "hartree were read as ev" in validated(written(tmp_path / "a.xyz", energies), capsys)


@pytest.mark.fault
def test_energies_in_kcal_are_deeper_than_electrons_can_be(tmp_path, capsys):
    path = written(tmp_path / "a.xyz", PBE, Hartree / (kcal / mol))
    assert "kcal/mol were read as ev" in validated(path, capsys)


def per_atom(energies, factor=Hartree):
    return {name: energy * factor / len(molecule(name)) for name, energy in energies.items()}


@pytest.mark.fault
@pytest.mark.parametrize("energies", [PBE, GFN2, {"H2O": -76.33}, {"C6H6": -232.1}])
def test_energies_per_atom_are_named(tmp_path, capsys, energies):
    """Energies per atom passed, and a training fitted E0 of +110 eV to them."""
    said = validated(written(tmp_path / "a.xyz", per_atom(energies)), capsys)
    assert "energies per atom were read as those of whole structures" in said
    assert "multiply" in said


@pytest.mark.control
@pytest.mark.parametrize("energies", [VASP, ATOMISATION, {"H2": -16.3}])
def test_relative_energies_and_ions_of_hydrogen_are_not_taken_for_those_of_atoms(
    tmp_path, capsys, energies
):
    assert "per atom" not in validated(written(tmp_path / "a.xyz", energies), capsys)


@pytest.mark.control
@pytest.mark.parametrize(
    ("energies", "factor"),
    [(PBE, Hartree), (GFN2, Hartree), (CORE, Hartree), (VASP, 1.0), (ATOMISATION, 1.0)],
)
def test_energies_in_ev_pass(tmp_path, capsys, energies, factor):
    found = validated(written(tmp_path / "a.xyz", energies, factor), capsys)
    assert "total energies" not in found


@pytest.mark.parametrize("name", ["H2O", "CH4", "CO2", "N2"])
@pytest.mark.parametrize(
    ("energies", "factor"),
    [(PBE, Hartree), (GFN2, Hartree), (CORE, Hartree), (VASP, 1.0), (ATOMISATION, 1.0)],
)
def test_one_composition_is_no_proof_of_what_is_not_there(name, energies, factor):
    check = TotalEnergyCheck("a/b")
    check.add(molecule(name).numbers, energies[name] * factor)
    assert check.problems() == []


def test_energies_of_differences_and_of_hydrogen_prove_nothing():
    check = TotalEnergyCheck("a/b")
    for k in range(1, 6):
        check.add(molecule("CH4").numbers, -0.7 * k)
        check.add(Atoms(f"H{2 * k}").numbers, -1.17)
    check.add(molecule("H2O").numbers, np.nan)
    assert check.problems() == []


def test_heavier_atoms_prove_a_unit_by_several_compositions_only():
    # HCl with a core potential, hexachloroethane with one near an all-electron energy in hartree
    check = TotalEnergyCheck("a/b")
    check.add(np.array([1, 17]), -15.277 * Hartree)
    check.add(np.array([6, 6, 1, *[17] * 5]), -87.2 * Hartree)
    assert check.problems() == []
    total = TotalEnergyCheck("a/b")
    for numbers, energy in (([1, 17], -460.8), ([6, 1, 1, 1, 17], -500.1), ([17, 17], -920.5)):
        total.add(np.array(numbers), energy)
    assert "hartree" in total.problems()[0].what


@pytest.mark.fault
@pytest.mark.parametrize("name", ["H2O", "CH4", "CO2", "N2"])
def test_total_energies_in_ev_that_were_read_as_kcal_are_named_for_one_molecule(name):
    """A file like MD17 but in eV passed as kcal/mol, forces and all, without a warning."""
    check = TotalEnergyCheck("a/b")
    check.add(molecule(name).numbers, PBE[name] * Hartree * kcal / mol)
    assert "ev were read as kcal/mol" in check.problems()[0].what
