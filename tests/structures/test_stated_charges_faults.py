"""Charges that files state, or that follow from the bonds of a protein, are not lost."""

import pytest
from needs import needs

import tlpot
from tlpot.cli import main
from tlpot.errors import ConfigError, DataError, GeometryError, TLPotWarning
from tlpot.structures import build_peptide, read_all

OXALATE = """oxalate
  made by hand

  6  5  0  0  0  0  0  0  0  0999 V2000
    1.2000    1.1000    0.0000 O   0  0
    0.7800    0.0000    0.0000 C   0  0
    1.2000   -1.1000    0.0000 O   0  0
   -0.7800    0.0000    0.0000 C   0  0
   -1.2000    1.1000    0.0000 O   0  0
   -1.2000   -1.1000    0.0000 O   0  0
  1  2  1  0
  2  3  2  0
  2  4  1  0
  4  5  2  0
  4  6  1  0
M  CHG  2   1  -1   6  -1
M  END
> <LOGP>
-1.2

$$$$
"""
METHYL = """
  old

  1  0  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 Na  0  3
M  END
$$$$
"""


@pytest.mark.fault
def test_every_record_of_an_sdf_is_read_with_its_charge(tmp_path):
    path = tmp_path / "both.sdf"
    path.write_text(OXALATE + METHYL)
    oxalate, sodium = read_all(path)
    assert oxalate.get_chemical_formula() == "C2O4"
    assert oxalate.info["charge"] == -2
    assert "LOGP" in oxalate.info["reader_notes"]
    assert (sodium.get_chemical_formula(), sodium.info["charge"]) == ("Na", 1)
    assert oxalate.positions[0] == pytest.approx([1.2, 1.1, 0.0])


@pytest.mark.fault
@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("  6  5", "  9  5", "no molecule of an SDF"),
        ("V2000", "V3000", "V3000"),
        (" C   0", " Qq  0", "'Qq' is no element"),
        ("   6  -1", "   9  -1", "names atom 9 of 6"),
        (" 0.7800 ", " x.7800 ", "no molecule of an SDF"),
    ],
)
def test_a_damaged_sdf_is_refused(tmp_path, old, new, why):
    path = tmp_path / "a.sdf"
    path.write_text(OXALATE.replace(old, new, 1))
    with pytest.raises(DataError, match=why):
        read_all(path)


@pytest.mark.fault
def test_a_protein_has_the_charge_of_its_bonds(tmp_path):
    needs("gemmi")
    path = tmp_path / "dd.pdb"
    build_peptide("DD").write(path)
    (found,) = read_all(path)
    assert found.info["charge"] == -2
    assert "charge -2, by its bonds" in found.info["reader_notes"]
    (neutral,) = read_all(_written(tmp_path / "aa.pdb", "AA"))
    assert "charge" not in neutral.info


def _written(path, sequence):
    build_peptide(sequence).write(path)
    return path


@pytest.mark.fault
def test_a_protein_is_labelled_with_its_charge(tmp_path):
    needs("gemmi")
    needs("tblite")
    path = _written(tmp_path / "d.pdb", "D")
    report = tlpot.label(path, "gfn2-xtb", tmp_path / "d.h5", forces="no", progress=False)
    assert report.n_labelled == 1
    frame = tlpot.open_dataset(tmp_path / "d.h5").read([0])[0]
    assert frame.system.charge == -1


@pytest.mark.fault
def test_two_numbers_in_the_comment_are_charge_and_multiplicity(tmp_path):
    path = tmp_path / "cation.xyz"
    rows = "O 0 0 0\nH 0.97 0 0\nH -0.25 0.93 0\n"
    path.write_text(f"3\n1 2\n{rows}")
    with pytest.warns(TLPotWarning, match="'1 2' is read as charge 1 and multiplicity 2"):
        (found,) = read_all(path)
    assert (found.info["charge"], found.info["spin"]) == (1, 2)
    path.write_text(f"3\n1 1\n{rows}")  # which the electrons cannot have
    (found,) = read_all(path)
    assert "charge" not in found.info


@pytest.mark.fault
def test_the_charge_of_structures_can_be_given_to_label(tmp_path):
    needs("tblite")
    rows = "O 0 0 0\nH 0.97 0 0\n"
    path = tmp_path / "hydroxide.xyz"
    path.write_text(f"2\nmine\n{rows}")
    target = tmp_path / "a.h5"
    command = ["label", str(path), "--engine", "gfn2-xtb", "-o", str(target)]
    assert main([*command, "--charge", "-1"]) == 0
    assert tlpot.open_dataset(target).read([0])[0].system.charge == -1
    path.write_text(f"2\ncharge=1\n{rows}")
    with pytest.raises(GeometryError, match="states charge=1, and -1 is given"):
        tlpot.label(path, "gfn2-xtb", tmp_path / "b.h5", charge=-1, progress=False)
    with pytest.raises(ConfigError, match="do not apply to the dataset"):
        tlpot.label(target, "gfn1-xtb", tmp_path / "b.h5", charge=-1, progress=False)
