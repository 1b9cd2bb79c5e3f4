"""Bonds, the torsions about them, and scans."""

import numpy as np
import pytest
from ase.build import molecule as g2

from tlpot.errors import GeometryError
from tlpot.sampling.scans import scan
from tlpot.structures import build_peptide
from tlpot.topology import MolecularGraph, backbone_dihedrals, torsions

TURNING = {  # torsions beside φ and ψ that are worth a scan
    "ALA": 0, "ARG": 4, "ASN": 2, "ASP": 2, "ASH": 3, "CYS": 2, "GLN": 3, "GLY": 0, "HIE": 2,
    "ILE": 2, "LEU": 2, "LYS": 4, "LYN": 5, "MET": 3, "PHE": 2, "SER": 2, "THR": 2, "TRP": 2,
    "TYR": 3, "VAL": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", TURNING)
def test_single_bonds_of_the_capped_residues(name):
    found = torsions(MolecularGraph(build_peptide([name])))
    assert sorted(t.name for t in found) == ["chi"] * TURNING[name] + ["phi", "psi"]


def test_the_ring_of_proline_holds_phi():
    assert [t.name for t in torsions(MolecularGraph(build_peptide("P")))] == ["psi"]


def test_backbone_dihedrals_are_those_of_the_names_in_any_order_of_atoms():
    atoms = build_peptide("AK", phi=[-60, 70], psi=[-40, 130])
    order = np.random.default_rng(0).permutation(len(atoms))
    for one in (atoms, atoms[order]):
        found = backbone_dihedrals(MolecularGraph(one))
        angles = sorted((one.get_dihedral(*phi), one.get_dihedral(*psi)) for phi, psi in found)
        assert np.allclose(angles, [(70, 130), (300, 320)])


def test_a_turn_changes_one_dihedral_and_no_bond():
    atoms = build_peptide("KS")
    molecule = MolecularGraph(atoms)
    before = atoms.get_all_distances()[tuple(molecule.bonds.T)]
    found = torsions(molecule)
    others = [atoms.get_dihedral(*t.atoms) for t in found]
    for k, torsion in enumerate(found):
        moved = atoms.copy()
        torsion.turn(moved.positions, 77.0)
        assert np.allclose(moved.get_all_distances()[tuple(molecule.bonds.T)], before)
        expected = [*others[:k], 77.0, *others[k + 1 :]]
        assert np.allclose([moved.get_dihedral(*t.atoms) for t in found], expected, atol=1e-6)


def test_broken_bonds_and_new_ones_are_seen_and_hydrogen_bonds_are_none():
    water = g2("H2O")
    molecule = MolecularGraph(water)
    assert molecule.intact(water)
    stretched = water.copy()
    stretched.set_distance(0, 1, 1.8, fix=0)
    assert not molecule.intact(stretched)
    pair = g2("H2O") + g2("H2O")
    pair.positions[3:] += [0.0, 0.0, 2.9]
    two = MolecularGraph(pair)
    assert len(two.bonds) == 4
    assert [len(piece) for piece in two.pieces] == [3, 3]
    close = pair.copy()
    close.positions[3:] -= [0.0, 0.0, 0.9]
    assert two.intact(close)
    close.positions[3:] -= [0.0, 0.0, 1.2]
    assert not two.intact(close)
    nan = water.copy()
    nan.positions[0] = np.nan
    assert not molecule.intact(nan)


def test_periodic_structures_are_refused():
    water = g2("H2O")
    water.center(3.0)
    water.pbc = True
    with pytest.raises(GeometryError, match="periodic"):
        MolecularGraph(water)


@pytest.mark.parametrize("sequence", ["A", "F", "K", "AV"])
def test_a_scan_covers_the_backbone_without_clashes(sequence):
    atoms = build_peptide(sequence)
    molecule = MolecularGraph(atoms)
    found = scan(atoms, molecule, 60, seed=3)
    assert len(found) == 60
    for candidate in found:
        placed = candidate.placed(atoms)
        assert molecule.intact(placed)
        assert not molecule.clashes(placed)
        assert candidate.method == "scan"
    for phi, psi in backbone_dihedrals(molecule):
        angles = np.array([[c.placed(atoms).get_dihedral(*d) for d in (phi, psi)] for c in found])
        quadrants = {tuple(q) for q in (angles // 180).astype(int).tolist()}
        assert len(quadrants) == 4
        assert len({tuple(q) for q in (angles // 45).astype(int).tolist()}) > 24
    again = scan(atoms, molecule, 60, seed=3)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(found, again, strict=True))
    other = scan(atoms, molecule, 60, seed=4)
    assert not np.array_equal(found[0].positions, other[0].positions)


def test_clashes_are_passed_over():
    """Left-handed φ with ψ near -120° brings side chain and carbonyl together in valine."""
    atoms = build_peptide("VV")
    molecule = MolecularGraph(atoms)
    assert molecule.clashes(build_peptide("VV", phi=0, psi=0))
    assert not molecule.clashes(build_peptide("VV", conformation="strand"))


def test_nothing_to_turn_gives_nothing():
    water = g2("H2O")
    assert scan(water, MolecularGraph(water), 5, seed=0) == []
