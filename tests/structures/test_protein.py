"""Reading PDB and mmCIF: alternate locations, insertion codes, models, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write
from needs import needs

import tlpot
from tlpot.errors import DataError, GeometryError, MissingExtraError
from tlpot.structures import read_all, read_structure
from tlpot.structures.reader import load_protein
from tlpot.topology import perceive_topology

gemmi = needs("gemmi")
DATA = Path(os.environ.get("TLPOT_DATA", "no-data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs TLPOT_DATA")


def line(serial, name, residue, number, xyz, *, chain="A", alt=" ", occ=1.0, icode=" ", el=None):
    """One ATOM record."""
    element = name.strip()[0] if el is None else el
    padded = name if len(name) == 4 else f" {name:<3}"
    x, y, z = xyz
    return (
        f"ATOM  {serial:5d} {padded}{alt}{residue:>3} {chain}{number:4d}{icode}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occ:6.2f}{10.0:6.2f}          {element:>2}\n"
    )


def water(number, shift, **keywords):
    """Three records of one water."""
    atoms = molecule("H2O")
    atoms.positions += shift
    return [
        line(3 * number + k, name, "HOH", number, xyz, **keywords)
        for k, (name, xyz) in enumerate(zip(("O", "H1", "H2"), atoms.positions, strict=True))
    ]


@pytest.fixture
def save(tmp_path):
    def put(lines, name="file.pdb"):
        path = tmp_path / name
        path.write_text("".join(lines))
        return path

    return put


def test_labels_have_chain_name_number_and_insertion_code(save):
    path = save(water(1, [0, 0, 0]) + water(1, [9, 0, 0], icode="B", chain="C") + ["END\n"])
    atoms = read_structure(path)
    assert list(atoms.arrays["residue_label"]) == ["A/HOH 1"] * 3 + ["C/HOH 1B"] * 3
    assert list(atoms.arrays["atom_name"]) == ["O", "H1", "H2"] * 2
    assert not atoms.pbc.any()
    assert [r.label for r in perceive_topology(atoms).residues] == ["A/HOH 1", "C/HOH 1B"]


def test_the_alternate_location_with_the_highest_occupancy_is_kept_and_reported(save):
    first = water(1, [0, 0, 0], alt="A", occ=0.4)
    second = water(1, [0.3, 0, 0], alt="B", occ=0.6)
    atoms = read_structure(save(first + second))
    assert len(atoms) == 3
    assert atoms.positions[0, 0] == pytest.approx(0.3)
    notes = atoms.info["reader_notes"]
    assert "A/HOH 1: alternate location B of A, B kept" in notes


def test_of_equal_occupancies_the_first_letter_is_kept(save):
    lines = water(1, [0, 0, 0], alt="B", occ=0.5) + water(1, [0.3, 0, 0], alt="A", occ=0.5)
    atoms = read_structure(save(lines))
    assert len(atoms) == 3
    assert atoms.positions[0, 0] == pytest.approx(0.3)


def test_neighbouring_residues_get_the_same_letter(save):
    lines = []
    for number, occupancies in ((1, (0.7, 0.3)), (2, (0.45, 0.55))):
        for letter, shift, occ in zip("AB", (0, 0.3), occupancies, strict=True):
            lines += water(number, [9 * number + shift, 0, 0], alt=letter, occ=occ)
    atoms = read_structure(save(lines))
    assert atoms.positions[[0, 3], 0] == pytest.approx([9, 18])


@pytest.mark.filterwarnings("ignore::tlpot.errors.ChargeWarning")  # what there is is no molecule
def test_a_heavy_atom_that_only_another_location_has_is_taken_from_there(save):
    lines = water(1, [0, 0, 0], alt="A", occ=0.6)
    lines += [line(9, "C9", "HOH", 1, [5, 5, 5], alt="B", occ=0.4)]
    atoms = read_structure(save(lines))
    assert atoms.get_chemical_formula() == "CH2O"
    assert "C9 only in another one" in atoms.info["reader_notes"]


def test_two_residues_at_one_place_leave_the_more_frequent(save):
    ion = [line(8, "NA", "NA", 1, [0, 0, 0], alt="B", occ=0.8, el="NA")]
    atoms = read_structure(save(water(1, [0, 0, 0], alt="A", occ=0.2) + ion))
    assert atoms.get_chemical_formula() == "Na"
    assert "HOH at the same place dropped" in atoms.info["reader_notes"]


def test_the_first_of_several_models_or_the_one_asked_for(save):
    path = save(
        [
            "MODEL        1\n",
            *water(1, [0, 0, 0]),
            "ENDMDL\nMODEL        2\n",
            *water(1, [5, 0, 0]),
            "ENDMDL\nEND\n",
        ]
    )
    first = read_structure(path)
    assert first.positions[0, 0] == pytest.approx(0)
    assert "first of 2 models" in first.info["reader_notes"]
    assert read_all(path)[1].positions[0, 0] == pytest.approx(5)
    assert load_protein(path, model=2).structure[0][0][0][0].pos.x == pytest.approx(5)
    with pytest.raises(DataError, match=r"no model 7; it has 1, 2"):
        load_protein(path, model=7)


def test_missing_element_columns_and_deuterium(save):
    lines = [text[:76].rstrip() + "\n" for text in water(1, [0, 0, 0])]
    lines += ["HETATM   10  CL   CL A   9      20.000  20.000  20.000\n"]
    atoms = read_structure(save(lines))
    assert list(atoms.symbols) == ["O", "H", "H", "Cl"]
    heavy = water(1, [0, 0, 0])
    heavy[1] = heavy[1].replace(" H1 ", " D1 ").replace("           H", "           D")
    atoms = read_structure(save(heavy))
    assert list(atoms.numbers) == [8, 1, 1]
    assert "1 deuterium" in atoms.info["reader_notes"]


@pytest.mark.fault
@pytest.mark.parametrize("sites", [["M"], ["MW"], ["EPW"], ["LP1", "LP2"]])
def test_massless_sites_of_water_models_are_dropped(save, sites):
    """A box of TIP4P was refused: "no known element: EPW of W/HOH 1"."""
    extra = [line(9, name, "HOH", 1, [0, 0, 0.3], el="") for name in sites]
    path = save([*water(1, [0, 0, 0]), *extra, *water(2, [9, 0, 0])])
    atoms = read_structure(path)
    assert list(atoms.arrays["atom_name"]) == ["O", "H1", "H2"] * 2
    assert f"{len(sites)} massless site" in atoms.info["reader_notes"]
    assert sites[0] in atoms.info["reader_notes"]
    lone = line(9, "EPW", "UNK", 3, [3, 0, 0], el="")
    with pytest.raises(DataError, match="no known element: EPW of A/UNK 3"):
        read_structure(save([*water(1, [0, 0, 0]), lone], "lone.pdb"))


@needs_data
def test_mmcif_and_pdb_give_the_same_topology(tmp_path):
    source = DATA / "proteins/chig.pdb"
    structure = gemmi.read_structure(str(source))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "chig.cif"))
    first, second = read_structure(source), read_structure(tmp_path / "chig.cif")
    one, two = perceive_topology(first), perceive_topology(second)
    assert one.units == two.units
    assert [(r.name, r.units) for r in one.residues] == [(r.name, r.units) for r in two.residues]
    assert one.residues[1].label == "TYR 2"
    np.testing.assert_allclose(first.positions, second.positions)


@needs_data
def test_names_and_numbers_in_the_file_do_not_matter(save):
    text = (DATA / "proteins/chig.pdb").read_text().splitlines(keepends=True)
    renamed = [
        row[:12] + f" {row[77]}{k % 9}X" + " UNK Z" + f"{900 - k:4d}" + row[26:]
        if row.startswith(("ATOM", "HETATM"))
        else row
        for k, row in enumerate(text)
    ]
    first = perceive_topology(read_structure(DATA / "proteins/chig.pdb"))
    second = perceive_topology(read_structure(save(renamed)))
    assert first.units == second.units
    assert [r.name for r in first.residues] == [r.name for r in second.residues]


@needs_data
def test_a_truncated_file_is_refused_with_the_residue_at_its_end(save):
    text = (DATA / "proteins/chig.pdb").read_text().splitlines(keepends=True)
    with pytest.raises(GeometryError, match=r"1 incomplete residue \(\w{3} \d+: "):
        read_structure(save(text[:100]))
    with pytest.raises((DataError, GeometryError), match=r"file.pdb|atom"):
        read_structure(save([*text[:100], text[100][:40]]))


@pytest.mark.parametrize("name", ["file.pdb", "file.cif"])
def test_an_empty_file(save, name):
    with pytest.raises(DataError, match=r"has no atoms|cannot be read"):
        read_structure(save([], name))


def test_unknown_elements_bad_numbers_and_missing_files_are_named(save, tmp_path):
    lines = water(1, [0, 0, 0])
    lines[0] = lines[0].replace("O   HOH", "QQ  HOH")[:76] + " X\n"
    with pytest.raises(DataError, match=r"no known element: QQ of A/HOH 1"):
        read_structure(save(lines))
    lines = water(1, [0, 0, 0])
    lines[1] = lines[1][:30] + "     nan" + lines[1][38:]
    with pytest.raises(DataError, match=r"H1 of A/HOH 1|cannot be read"):
        read_structure(save(lines))
    with pytest.raises(DataError, match="no file"):
        read_structure(tmp_path / "absent.pdb")


def test_other_formats_are_read_by_ase(tmp_path):
    write(tmp_path / "w.xyz", molecule("H2O"))
    atoms = read_structure(tmp_path / "w.xyz")
    assert len(atoms) == 3
    assert "residue_label" not in atoms.arrays
    crystal = molecule("H2O", vacuum=4.0)
    crystal.pbc = True
    write(tmp_path / "w.cif", crystal)
    assert len(read_structure(tmp_path / "w.cif")) == len(read(tmp_path / "w.cif")) == 3


def test_without_gemmi_the_extra_is_named(save, monkeypatch):
    path = save(water(1, [0, 0, 0]))
    monkeypatch.setitem(__import__("sys").modules, "gemmi", None)
    with pytest.raises(MissingExtraError, match=r"tlpot\[pdb\]"):
        read_structure(path)


BARE = """\
ATOM      1  N   GLY A   1       0.000   0.000   0.000  1.00  0.00           N
ATOM      2  CA  GLY A   1       1.460   0.000   0.000  1.00  0.00           C
ATOM      3  C   GLY A   1       2.010   1.420   0.000  1.00  0.00           C
ATOM      4  O   GLY A   1       1.250   2.390   0.000  1.00  0.00           O
HETATM    5  O   HOH A 101      10.000   0.000   0.000  1.00  0.00           O
HETATM    6  C   UNK A 102      20.000   0.000   0.000  1.00  0.00           C
HETATM    7  O1  UNK A 102      21.160   0.000   0.000  1.00  0.00           O
HETATM    8  O2  UNK A 102      18.840   0.000   0.000  1.00  0.00           O
END
"""


@pytest.mark.fault
@pytest.mark.parametrize(
    ("lines", "named"), [(range(8), r"2 residues .*A/GLY 1, A/HOH 101"), ([4], r"1 residue .*HOH")]
)
def test_a_crystal_structure_without_hydrogens_has_no_energy(tmp_path, lines, named):
    path = tmp_path / "bare.pdb"
    path.write_text("\n".join(BARE.splitlines()[k] for k in lines) + "\nEND\n")
    with pytest.raises(GeometryError, match=named + ".*--prepare"):
        read_all(path)
    with pytest.raises(GeometryError, match="without any hydrogen"):
        tlpot.predict("tlpot-peptides-tiny", path, level="aimnet2")


def test_what_has_no_hydrogens_by_nature_is_read_from_a_pdb(tmp_path):
    path = tmp_path / "co2.pdb"
    path.write_text("\n".join(BARE.splitlines()[5:]) + "\n")
    (found,) = read_all(path)
    assert found.get_chemical_formula() == "CO2"


@pytest.mark.fault
@pytest.mark.parametrize(
    ("name", "symbol"),
    [("SOD", "Na"), ("POT", "K"), ("CES", "Cs"), ("CAL", "Ca"), ("CLA", "Cl"), ("ZN2", "Zn")],
)
def test_ions_by_the_names_of_charmm(tmp_path, name, symbol):
    path = tmp_path / "ion.pdb"
    path.write_text(
        f"ATOM      4  {name} {name} I   1       5.000   5.000   5.000  1.00  0.00\nEND\n"
    )
    (found,) = read_all(path)
    assert found.get_chemical_symbols() == [symbol]


@pytest.mark.fault
@pytest.mark.parametrize("ending", [".cif", ".cif.gz"])
def test_a_crystal_is_read_without_gemmi(tmp_path, monkeypatch, ending):
    from ase.build import bulk
    from ase.io import write

    monkeypatch.setitem(__import__("sys").modules, "gemmi", None)
    path = tmp_path / f"nacl{ending}"
    write(path, bulk("NaCl", "rocksalt", a=5.64), format="cif")
    (atoms,) = read_all(path)
    assert (atoms.get_chemical_formula(), atoms.pbc.all()) == ("ClNa", True)
