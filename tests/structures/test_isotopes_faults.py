"""Isotopes that files and SMILES name have their masses."""

import numpy as np
import pytest
from needs import needs

from tlpot.errors import DataError
from tlpot.structures import read_structure, smiles_atoms

pytestmark = pytest.mark.fault

WATER = """
  made by hand

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 O   0  0
    0.9600    0.0000    0.0000 {}   0  0
   -0.2400    0.9300    0.0000 H   0  0
  1  2  1  0
  1  3  1  0
{}M  END
$$$$
"""


def test_a_smiles_says_which_isotopes_there_are():
    """Frequencies of [2H] were those of protium."""
    needs("rdkit")
    masses = smiles_atoms("[2H]O[13CH3]").get_masses()
    np.testing.assert_allclose(masses[:3], [2.0141, 15.999, 13.0], atol=1e-3)
    np.testing.assert_allclose(masses[3:], 1.008)
    assert "masses" not in smiles_atoms("CO").arrays


@pytest.mark.parametrize(
    ("symbol", "lines", "masses"),
    [
        ("D", "", [15.999, 2.0141, 1.008]),
        ("T", "", [15.999, 3.01605, 1.008]),
        ("H", "M  ISO  2   1  18   3   2\n", [18.0, 1.008, 2.0141]),
    ],
)
def test_an_sdf_file_says_which_isotopes_there_are(tmp_path, symbol, lines, masses):
    """D was read as H, without a word; M  ISO was not looked at."""
    (tmp_path / "w.sdf").write_text(WATER.format(symbol, lines))
    atoms = read_structure(str(tmp_path / "w.sdf"))
    assert atoms.get_chemical_formula() == "H2O"
    np.testing.assert_allclose(atoms.get_masses(), masses, atol=1e-3)


def test_an_isotope_of_no_atom_is_refused(tmp_path):
    """It would be lost."""
    (tmp_path / "w.sdf").write_text(WATER.format("H", "M  ISO  1   4   2\n"))
    with pytest.raises(DataError, match="ISO"):
        read_structure(str(tmp_path / "w.sdf"))


def test_deuterium_in_an_xyz_file_is_told_what_to_write(tmp_path):
    """It was "not an element", and nothing said how deuterium is written."""
    (tmp_path / "d.xyz").write_text("1\n\nD 0.0 0.0 0.0\n")
    with pytest.raises(DataError, match="masses:R:1"):
        read_structure(str(tmp_path / "d.xyz"))
