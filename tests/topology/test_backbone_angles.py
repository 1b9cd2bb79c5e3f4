"""φ and ψ from bonds alone."""

import numpy as np
import pytest
from ase.build import molecule

from tlpot.structures import build_peptide
from tlpot.system import System
from tlpot.topology import dihedral_angles, dihedrals, perceive_topology

PHI, PSI = (-60.0, -120.0, 75.0, -70.0), (-45.0, 130.0, 20.0, 150.0)


def _topology(atoms):
    return perceive_topology(System.from_atoms(atoms))


def _measured(atoms, which):
    quads = [getattr(d, which) for d in dihedrals(_topology(atoms))]
    return dihedral_angles(atoms.positions, quads)


def _turned(difference):
    return np.abs((difference + 180.0) % 360.0 - 180.0).max()


@pytest.fixture(scope="module")
def peptide():
    return build_peptide(["ALA", "GLY", "SER", "PRO"], phi=PHI, psi=PSI)


def test_a_built_peptide_has_the_angles_it_was_built_with(peptide):
    found = dihedrals(_topology(peptide))
    assert [d.name for d in found] == ["ALA", "GLY", "SER", "PRO"]
    assert _turned(_measured(peptide, "phi") - PHI) < 0.5
    assert _turned(_measured(peptide, "psi") - PSI) < 0.5


def test_the_order_and_names_of_atoms_do_not_matter(peptide):
    order = np.random.default_rng(1).permutation(len(peptide))
    mixed = peptide[order]
    for name in ("atomtypes", "residuenames", "residuenumbers"):
        if name in mixed.arrays:
            del mixed.arrays[name]
    angles = np.sort(np.round(_measured(mixed, "phi"), 6))
    assert np.allclose(angles, np.sort(np.round(_measured(peptide, "phi"), 6)), atol=1e-5)


def test_angles_are_those_of_ase(peptide):
    quads = [d.psi for d in dihedrals(_topology(peptide))]
    other = np.array([peptide.get_dihedral(*quad) for quad in quads])
    assert _turned(_measured(peptide, "psi") - other) < 1e-8


def test_free_ends_have_one_angle_only():
    free = build_peptide("AAA", n_cap=None, c_cap=None)
    first, _, last = dihedrals(_topology(free))
    assert first.phi is None
    assert first.psi is not None
    assert last.phi is not None
    assert last.psi is None


def test_a_mirror_image_has_the_opposite_angles(peptide):
    mirrored = peptide.copy()
    mirrored.positions[:, 0] *= -1.0
    assert _turned(_measured(mirrored, "phi") + _measured(peptide, "phi")) < 1e-8


def test_what_is_no_peptide_has_none():
    assert dihedrals(_topology(molecule("CH3CH2OH"))) == ()


def test_frames_at_once_have_the_angles_of_each(peptide):
    quads = [d.phi for d in dihedrals(_topology(peptide))]
    rng = np.random.default_rng(0)
    frames = peptide.positions + 0.05 * rng.normal(size=(3, 2, len(peptide), 3))
    found = dihedral_angles(frames, quads)
    assert found.shape == (3, 2, 4)
    assert np.allclose(found[1, 1], dihedral_angles(frames[1, 1], quads))
