"""Crystals, surfaces and chains told from molecules in a box."""

import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from tlpot.neighbors import is_endless
from tlpot.system import System

CRYSTALS = {
    "fcc": bulk("Cu"),
    "bcc": bulk("Na"),
    "rock salt": bulk("NaCl", "rocksalt", a=5.64),
    "slab": fcc111("Al", (1, 1, 3), vacuum=10.0),
    "chain": Atoms("Au", cell=[9.0, 9.0, 2.6], pbc=[False, False, True]),
    "rattled": bulk("Al", cubic=True) * (2, 1, 1),
}
MOLECULES = {
    "box": molecule("OH", cell=[8.0] * 3, pbc=True),
    "across the boundary": Atoms("OH", [[0, 0, 0.1], [0, 0, 7.1]], cell=[8.0] * 3, pbc=True),
    "free": molecule("OH"),
    "liquid": Atoms("Ar2", [[0, 0, 0], [1.9, 1.9, 1.9]], cell=[3.8] * 3, pbc=True),
    "overlapping": Atoms("Cu2", cell=[0.0] * 3, pbc=True),
}
CRYSTALS["rattled"].rattle(0.1, seed=1)


@pytest.mark.fault
@pytest.mark.parametrize("name", CRYSTALS)
def test_bonds_of_a_crystal_lead_to_its_images(name):
    """Nothing told a crystal from a radical in a box."""
    assert is_endless(System.from_atoms(CRYSTALS[name]))


@pytest.mark.fault
@pytest.mark.parametrize("name", MOLECULES)
def test_those_of_molecules_do_not(name):
    """Nothing told a crystal from a radical in a box."""
    assert not is_endless(System.from_atoms(MOLECULES[name]))
