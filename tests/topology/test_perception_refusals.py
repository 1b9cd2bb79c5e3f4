"""Structures that cannot be understood: the message names the atoms."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from sketch import capped, sketch, unwrapped

from tlpot.errors import GeometryError
from tlpot.topology import perceive_topology


def refused(atoms, labels=None):
    with pytest.raises(GeometryError) as caught:
        perceive_topology(atoms, labels=labels)
    return str(caught.value)


def alanine():
    return sketch(capped("ALA"))


def backbone(atoms):
    """N, CA and C of the amino acid, from the topology of the unbroken peptide."""
    topology = perceive_topology(atoms)
    core = topology.residues[1]
    units = (core.amino, core.alpha, core.carbonyl)
    return [
        next(a for a in topology.units[u].atoms if atoms.numbers[a] == z)
        for u, z in zip(units, (7, 6, 6), strict=True)
    ]


def without(atoms, *gone):
    kept = [k for k in range(len(atoms)) if k not in gone]
    return atoms[kept], {old: new for new, old in enumerate(kept)}


def test_all_hydrogens_missing():
    atoms = alanine()
    bare = atoms[atoms.numbers != 1]
    text = refused(bare, [f"A/RES {k}" for k in range(len(bare))])
    assert "do not close the valence" in text
    assert "(A/RES 0) bound to" in text
    assert "--prepare" in text


@pytest.mark.parametrize("which", range(12))
def test_any_single_missing_hydrogen_is_noticed_or_is_a_known_ion(which):
    """Of ACE-ALA-NME no hydrogen can be missed: there is no anion to take it for."""
    atoms = alanine()
    hydrogen = int(np.flatnonzero(atoms.numbers == 1)[which])
    owner = int(atoms.get_distances(hydrogen, range(len(atoms))).argsort()[1])
    broken, place = without(atoms, hydrogen)
    symbol = atoms[owner].symbol
    assert f"atom {place[owner]} {symbol} bound to" in refused(broken)


@pytest.mark.parametrize("which", range(3))
def test_a_missing_backbone_atom_is_named_by_its_neighbours(which):
    atoms = alanine()
    gone = backbone(atoms)[which]
    near = [k for k in range(len(atoms)) if 0 < atoms.get_distance(gone, k) < 1.7]
    broken, place = without(atoms, gone)
    text = refused(broken)
    assert any(f"atom {place[k]} " in text for k in near)


def test_a_ligand_without_closed_valence():
    atoms = alanine() + Atoms("CH", [[40, 0, 0], [41.1, 0, 0]])
    n = len(atoms)
    text = refused(atoms, ["A/ALA 1"] * (n - 2) + ["B/UNL 9"] * 2)
    assert f"{n - 2} C (B/UNL 9) bound to {n - 1} H" in text


def test_overlapping_chains_and_duplicate_atoms():
    atoms = alanine()
    text = refused(atoms + atoms)
    assert "on top of each other" in text
    assert f"0 C and {len(atoms)} C" in text
    assert f"and {len(atoms) - 10} more" in text
    shifted = atoms.copy()
    shifted.positions += 0.9
    text = refused(atoms + shifted)
    assert "atom" in text


def test_an_empty_structure_nan_and_dummy_atoms():
    assert "no atoms" in refused(Atoms())
    atoms = alanine()
    atoms.positions[3, 1] = np.nan
    assert f"atom 3 {atoms[3].symbol} (X)" in refused(atoms, ["X"] * len(atoms))
    atoms = alanine()
    atoms.numbers[2] = 0
    assert "atom 2 " in refused(atoms)
    with pytest.raises(GeometryError, match="2 labels for"):
        perceive_topology(alanine(), labels=["A", "B"])


def test_a_wrong_element():
    atoms = alanine()
    nitrogen = backbone(atoms)[0]
    atoms.numbers[nitrogen] = 6
    assert f"atom {nitrogen} C" in refused(atoms)
    atoms.numbers[nitrogen] = 8
    assert f"atom {nitrogen} O" in refused(atoms)


@pytest.mark.parametrize("name", ["CH3", "C2H5", "NO", "OH", "CH3O", "NH2", "C3H7", "HCO"])
def test_radicals(name):
    text = refused(molecule(name))
    assert "atom" in text
    assert "radical" in text


def test_a_planar_carbon_radical_beside_an_amide_is_no_enolate():
    assert perceive_topology(sketch("CH3C(=O)NHCH(CH3)C(=O)NHCH3")).charge == 0
    radical = sketch("CH3C(=O)NHC(CH3)=C(O)NHCH3")  # what the radical would be taken for
    text = refused(radical)
    assert "not close the valence" in text
    radical.info["charge"] = -1
    assert perceive_topology(radical).charge == -1


def test_a_proton_between_two_waters():
    water = molecule("H2O")
    other = water.copy()
    zundel = Atoms("OHHOHHH", np.zeros((7, 3)))
    zundel.positions[:3] = water.positions
    other.rotate(180, "x")
    zundel.positions[3:6] = other.positions
    zundel.positions[3:6, 2] += 2.4 + 2 * water.positions[0, 2]
    zundel.positions[6] = (zundel.positions[0] + zundel.positions[3]) / 2
    text = refused(zundel)
    assert "6 H between" in text


def test_metals_and_networks():
    assert "metal" in refused(bulk("Cu", cubic=True))
    sheet = graphene(size=(3, 3, 1), vacuum=5.0)
    assert "without end" in refused(sheet)
    assert "not known" in refused(Atoms("Os", [[0, 0, 0]]))


def test_a_polymer_through_the_cell_has_no_unwrapped_positions():
    chain = Atoms("C2", [[0, 0, 0], [1.25, 0, 0]], cell=[2.5, 20, 20], pbc=True)
    assert "without end" in refused(chain)
    ring = Atoms("C4", [[1.3 * k, 0, 0] for k in range(4)], cell=[5.2, 20, 20], pbc=True)
    bonds = np.array([[0, 1], [0, 3], [1, 2], [2, 3]])
    with pytest.raises(GeometryError, match="without end"):
        unwrapped(ring, bonds)


def test_the_message_shows_ten_atoms_and_counts_the_rest():
    atoms = sketch(capped("TRP", "ALA", "VAL"))
    text = refused(atoms[atoms.numbers != 1])
    assert text.count("\n  atom ") == 10
    assert "more" in text
