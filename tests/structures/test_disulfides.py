"""Peptides that are built with disulfide bridges."""

from pathlib import Path

import numpy as np
import pytest

from tlpot.errors import ConfigError
from tlpot.structures import build_peptide, read_frames
from tlpot.topology import perceive_topology


def sulfurs(atoms):
    return [k for k in range(len(atoms)) if atoms.symbols[k] == "S"]


@pytest.mark.parametrize(
    ("sequence", "bridges", "charge"),
    [("CGGC", [(0, 3)], 0), ("ACPGNCA", [(5, 1)], 0), ("GCAKAGFCG", [(1, 7)], 1)],
)
def test_the_ring_is_closed_without_clashes(sequence, bridges, charge):
    atoms = build_peptide(sequence, disulfides=bridges)
    assert atoms.info["charge"] == charge
    open_chain = build_peptide(sequence, conformation="strand")
    assert len(atoms) == len(open_chain) - 2, "two hydrogens less"
    one, two = sulfurs(atoms)
    assert atoms.get_distance(one, two) == pytest.approx(2.04, abs=0.03)
    names, residues = atoms.arrays["atomtypes"], atoms.arrays["residuenames"]
    assert (residues == "CYX").sum() == 2 * 10
    assert "HG" not in names[residues == "CYX"]
    topology = perceive_topology(atoms)
    assert tuple(sorted((one, two))) in {tuple(sorted(pair)) for pair in topology.bonds.tolist()}
    degree = np.bincount(topology.bonds.ravel(), minlength=len(atoms))
    assert (degree[atoms.numbers == 1] == 1).all()
    distances = atoms.get_all_distances() + 9.0 * np.eye(len(atoms))
    assert distances.min() > 0.95
    again = build_peptide(sequence, disulfides=bridges)
    assert np.array_equal(atoms.positions, again.positions)


def test_two_bridges():
    atoms = build_peptide("CAGGCAAGCAGGC", disulfides=[(0, 4), (8, 12)])
    s = sulfurs(atoms)
    assert atoms.get_distance(s[0], s[1]) == pytest.approx(2.04, abs=0.03)
    assert atoms.get_distance(s[2], s[3]) == pytest.approx(2.04, abs=0.03)


def test_angles_that_are_given_stay():
    phi = [None, -57.0, None, None, None, None]
    psi = [None, -47.0, None, None, None, 140.0]
    atoms = build_peptide("GACGGC", phi=phi, psi=psi, disulfides=[(2, 5)])
    at = {
        (int(n), str(a)): k
        for k, (n, a) in enumerate(
            zip(atoms.arrays["residuenumbers"], atoms.arrays["atomtypes"], strict=True)
        )
    }
    # residue 1 of the list has the number 3: the cap is counted, from 1 on
    found = atoms.get_dihedral(at[2, "C"], at[3, "N"], at[3, "CA"], at[3, "C"])
    assert (found + 180) % 360 - 180 == pytest.approx(-57.0, abs=1e-6)
    last = atoms.get_dihedral(at[7, "N"], at[7, "CA"], at[7, "C"], at[8, "N"])
    assert last == pytest.approx(140.0, abs=1e-6)


@pytest.mark.parametrize(
    ("sequence", "bridges", "message"),
    [
        ("CGGC", [(0, 2)], "residue 2, which is GLY"),
        ("CGGC", [(0, 9)], "no residue"),
        ("CGGCGGC", [(0, 3), (3, 6)], "two bridges"),
        ("CGGC", [(0, 0)], "two bridges"),
    ],
)
def test_mistakes(sequence, bridges, message):
    with pytest.raises(ConfigError, match=message):
        build_peptide(sequence, disulfides=bridges)


def test_cysteines_side_by_side_have_no_room():
    with pytest.raises(ConfigError, match="further apart"):
        build_peptide("CC", disulfides=[(0, 1)])


def test_the_example_is_read_as_it_was_built():
    path = Path(__file__).parents[2] / "examples" / "disulfide.pdb"
    (atoms,) = read_frames(str(path))
    built = build_peptide("ACPGNCA", disulfides=[(1, 5)])
    assert atoms.get_chemical_formula() == built.get_chemical_formula()
    topology = perceive_topology(atoms)
    assert topology.charge == 0
    bonds = {tuple(sorted(pair)) for pair in topology.bonds.tolist()}
    assert tuple(sulfurs(atoms)) in bonds
    assert len(bonds) == len(perceive_topology(built).bonds)
