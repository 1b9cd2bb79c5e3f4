"""Molecules by SMILES: charges, bonds, conformers, and what is refused."""

import sys

import numpy as np
import pytest
from ase.build import molecule as g2
from needs import needs

from tlpot.errors import ConfigError, DataError, GeometryError, MissingExtraError
from tlpot.structures import (
    bonds_of,
    build_peptide,
    conformers,
    looks_like_smiles,
    molecules,
    rdkit_molecule,
    read_structure,
    smiles_atoms,
)
from tlpot.topology import MolecularGraph


def test_symbols_tell_smiles_from_names():
    found = [t for t in ("CCO", "C[NH3+]", "F/C=C\\F", "c1cc[nH]c1.O") if looks_like_smiles(t)]
    assert len(found) == 4
    assert not any(map(looks_like_smiles, ("H2O", "residus", "ACE-ALA-NME", "x.xyz", "")))


def test_without_rdkit_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit.Chem", None)
    with pytest.raises(MissingExtraError, match=r"tlpot\[rdkit\]"):
        smiles_atoms("CCO")


@pytest.mark.parametrize(
    ("smiles", "formula", "charge", "spin"),
    [("CC(=O)[O-]", "C2H3O2", -1, 1), ("C[NH3+]", "CH6N", 1, 1), ("[CH3]", "CH3", 0, 2),
     ("O", "H2O", 0, 1), ("[Na+]", "Na", 1, 1)],
)  # fmt: skip
def test_formal_charges_and_unpaired_electrons_are_those_of_the_smiles(
    smiles, formula, charge, spin
):
    needs("rdkit")
    atoms = smiles_atoms(smiles)
    assert atoms.get_chemical_formula() == formula
    assert (atoms.info["charge"], atoms.info["spin"]) == (charge, spin)
    known = rdkit_molecule(atoms)
    assert np.array_equal(MolecularGraph(atoms).bonds, bonds_of(known))


@pytest.mark.parametrize(
    ("smiles", "why"),
    [("C1CC", "syntax"), ("xyz", "syntax"), ("", "syntax"), ("CC(C)(C)(C)C", "valence"),
     ("O.O", "several")],
)  # fmt: skip
def test_a_wrong_smiles_is_one_line_that_says_why(smiles, why, capfd):
    needs("rdkit")
    with pytest.raises(ConfigError, match=why) as found:
        smiles_atoms(smiles)
    assert "\n" not in str(found.value)
    assert capfd.readouterr().err == ""


def test_a_molecule_that_cannot_be_has_no_conformer():
    needs("rdkit")
    with pytest.raises(GeometryError, match="RDKit finds no geometry"):
        smiles_atoms("C1C[C@H]2CC[C@H]1C2")  # norbornane with a bridge through itself


def test_bonds_of_a_file_s_structure_are_perceived_with_their_charges():
    needs("rdkit")
    lysine = build_peptide("K")
    known = rdkit_molecule(lysine)
    assert np.array_equal(bonds_of(known), MolecularGraph(lysine).bonds)
    charges = [a.GetFormalCharge() for a in known.GetAtoms()]
    assert (sum(charges), max(charges)) == (1, 1)
    wrong = g2("CH4")
    wrong.info["charge"] = 1
    with pytest.raises(GeometryError, match="no bond orders fit"):
        rdkit_molecule(wrong)


def test_a_smiles_of_another_order_of_atoms_is_not_believed():
    needs("rdkit")
    atoms = smiles_atoms("CO")
    order = [2, 0, 3, 1, 4, 5]
    turned = atoms[order]
    turned.info = atoms.info
    assert np.array_equal(bonds_of(rdkit_molecule(turned)), MolecularGraph(turned).bonds)


def test_conformers_differ_keep_their_bonds_and_are_the_same_again():
    needs("rdkit")
    atoms = smiles_atoms("CC(=O)N[C@@H](C)C(=O)NC")
    found = conformers(atoms, 14, seed=3)
    graph = MolecularGraph(atoms)
    assert 3 < len(found) <= 14
    for k, positions in enumerate(found):
        moved = atoms.copy()
        moved.set_positions(positions)
        assert graph.intact(moved)
        for other in found[:k]:
            lengths = [np.sort(np.linalg.norm(p[:, None] - p, axis=2), axis=None)
                       for p in (positions, other)]  # fmt: skip
            assert np.abs(lengths[0] - lengths[1]).max() > 0.05
    again = conformers(atoms, 14, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    assert len(conformers(smiles_atoms("O"), 9, seed=0)) == 1


def test_some_amides_are_cis():
    needs("rdkit")
    atoms = smiles_atoms("CC(=O)NC")
    angles = []
    for positions in conformers(atoms, 21, seed=5):
        atoms.set_positions(positions)
        angles.append(np.cos(np.deg2rad(atoms.get_dihedral(0, 1, 3, 4))))
    assert max(angles) > 0.8  # cis
    assert min(angles) < -0.8  # trans


def test_handedness_is_that_of_the_smiles():
    needs("rdkit")
    for text, sign in (("N[C@@H](C)C(=O)O", 1), ("N[C@H](C)C(=O)O", -1)):
        atoms = smiles_atoms(text)
        for x in conformers(atoms, 8, seed=1):
            n, alpha, methyl, carbonyl = x[0], x[1], x[2], x[3]
            volume = np.dot(np.cross(n - alpha, carbonyl - alpha), methyl - alpha)
            assert np.sign(volume) == sign


def test_several_molecules_in_one_smiles_keep_their_atoms_together():
    needs("rdkit")
    known = molecules._molecule("O.C[NH3+]")
    assert [a.GetSymbol() for a in known.GetAtoms()][:4] == ["O", "H", "H", "C"]


def test_a_smiles_stands_for_a_structure_where_one_is_read():
    needs("rdkit")
    ethanol = read_structure("CCO")
    assert ethanol.get_chemical_formula() == "C2H6O"
    assert "first conformer" in ethanol.info["reader_notes"]
    assert read_structure("smiles:CO").get_chemical_formula() == "CH4O"
    assert read_structure("CO").get_chemical_formula() == "CO"  # as ASE calls it
    assert read_structure("C[NH3+]").info["charge"] == 1
    with pytest.raises(ConfigError, match="no molecule"):
        read_structure("CC1C")
    with pytest.raises(DataError, match="no SMILES"):
        read_structure("absent.xyz")
