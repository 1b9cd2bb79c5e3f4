"""Dumps of LAMMPS and files of GROMACS, whose atoms have names and no elements."""

import pytest

from tlpot.errors import DataError
from tlpot.structures import read_all

DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0 10
0 10
0 10
ITEM: ATOMS id {columns} x y z
1 {first} 0.0 0.0 0.0
2 {second} 0.0 0.0 0.97
"""


@pytest.mark.fault
def test_types_are_not_taken_for_elements(tmp_path):
    """Types 1 and 2 were read as hydrogen and helium."""
    path = tmp_path / "a.lammpstrj"
    path.write_text(DUMP.format(columns="type", first=1, second=2))
    with pytest.raises(DataError, match="dump_modify"):
        read_all(path)
    path.write_text(DUMP.format(columns="element", first="O", second="H"))
    assert read_all(path)[0].get_chemical_formula() == "HO"


@pytest.mark.fault
def test_lengths_of_a_dump_that_are_not_in_angstrom_are_refused(tmp_path):
    """Bohr of 'units electron' were taken for Å."""
    path = tmp_path / "a.lammpstrj"
    text = DUMP.format(columns="element", first="O", second="H")
    path.write_text("ITEM: UNITS\nelectron\n" + text)
    with pytest.raises(DataError, match="electron"):
        read_all(path)


@pytest.mark.fault
def test_names_of_gromacs_are_not_taken_for_elements(tmp_path):
    """A sodium ion was read as nitrogen, chloride as carbon, a virtual site as tungsten."""
    path = tmp_path / "a.gro"
    path.write_text("ions\n    1\n    1NA      NA    1   0.800   0.800   0.800\n 2.0 2.0 2.0\n")
    with pytest.raises(DataError, match="editconf"):
        read_all(path)
