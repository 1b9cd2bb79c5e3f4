"""Protein files that lack atoms: what is refused, what is warned of, and what stays readable."""

import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from needs import needs

import tlpot
from tlpot.cli import main
from tlpot.errors import ChargeWarning, GeometryError, ValenceError
from tlpot.structures import build_peptide, read_all, read_structure
from tlpot.topology import perceive_topology

needs("gemmi")


def record(serial, name, residue, number, xyz, element, *, alt=" ", occ=1.0, charge=""):
    """One ATOM record."""
    padded = name if len(name) == 4 else f" {name:<3}"
    x, y, z = xyz
    return (
        f"ATOM  {serial:5d} {padded}{alt}{residue:>3} A{number:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occ:6.2f}{10.0:6.2f}          {element:>2}{charge}\n"
    )


def rows(atoms):
    """Name, residue, number, position and element of the atoms of a peptide."""
    arrays = (atoms.arrays[name] for name in ("atomtypes", "residuenames", "residuenumbers"))
    symbols = atoms.get_chemical_symbols()
    return list(zip(*arrays, atoms.positions, symbols, strict=True))


@pytest.fixture
def save(tmp_path):
    """Writes a peptide without the atoms that a function drops, and with further lines."""

    def put(atoms, drop=lambda name, residue: False, extra=(), charges=()):
        lines = [
            record(k, str(n), str(r), int(i), x, e, charge=dict(charges).get((r, n), ""))
            for k, (n, r, i, x, e) in enumerate(rows(atoms), start=1)
            if not drop(n, r)
        ]
        path = tmp_path / "file.pdb"
        path.write_text("".join([*lines, *extra, "END\n"]))
        return path

    return put


LYSINE = ("CD", "CE", "NZ", "HD2", "HD3", "HE2", "HE3", "HZ1", "HZ2", "HZ3")
APOLAR = ("HA", "HB1", "HB2", "HB3", "HD2", "HD3", "HE2", "HE3", "HG2", "HG3")


@pytest.mark.fault
@pytest.mark.parametrize(
    ("sequence", "drop", "named"),
    [
        ("ASD", lambda n, r: (r, n) == ("SER", "HG"), "A/SER 3: H"),
        ("ASKD", lambda n, r: r == "LYS" and n in LYSINE, "A/LYS 4: C2H6N"),
        ("ASKD", lambda n, r: n in APOLAR, r"A/ALA 2: H4"),
        (["HIP"], lambda n, r: n == "HE1", "A/HIP 2: H"),
        ("AA", lambda n, r: (r, n) == ("NME", "H"), "A/NME 4: H"),
        ("AGA", lambda n, r: r == "GLY", "A/ALA 2: nothing closes the chain at C"),
    ],
)
def test_an_amino_acid_or_cap_that_lacks_atoms_is_refused(save, capsys, sequence, drop, named):
    """It was read in silence, as neutral, and a missing proton hid a charge that was ignored."""
    path = save(build_peptide(sequence), drop)
    with pytest.raises(GeometryError, match=f"{named}.*--prepare"):
        read_all(path)
    with pytest.raises(GeometryError, match="incomplete"):
        tlpot.predict("tlpot-peptides-tiny", path, level="aimnet2")
    command = ["relax", str(path), "tlpot-peptides-tiny", "--level", "aimnet2"]
    assert main(command) != 0
    assert "incomplete" in capsys.readouterr().err


@pytest.mark.fault
def test_a_water_with_one_hydrogen_is_refused(save):
    """It was read as it is, without a word."""
    lines = [
        record(90, "O", "HOH", 9, (30, 0, 0), "O"),
        record(91, "H1", "HOH", 9, (31, 0, 0), "H"),
    ]
    with pytest.raises(GeometryError, match="A/HOH 9: H"):
        read_all(save(build_peptide("A"), extra=lines))


@pytest.mark.fault
def test_hydrogens_without_a_letter_choose_the_alternate_location(save):
    """The location of a higher occupancy was taken, which left hydrogens bound to nothing."""
    peptide, lines = build_peptide("AS"), []
    for k, (name, residue, number, x, element) in enumerate(rows(peptide), start=1):
        if residue == "SER" and name in ("CB", "OG"):
            lines.append(record(k, name, residue, number, x, element, alt="A", occ=0.3))
            moved = x + np.array([0.3, 0.3, 0.0])
            lines.append(record(k, name, residue, number, moved, element, alt="B", occ=0.7))
        else:
            lines.append(record(k, str(name), str(residue), number, x, element))
    found = read_structure(save(peptide, lambda n, r: True, extra=lines))
    assert "location A of A, B kept; hydrogens without a letter" in found.info["reader_notes"]
    np.testing.assert_allclose(found.positions, peptide.positions, atol=1e-3)
    assert perceive_topology(found).charge == 0


def methyl(shift=30.0):
    """Lines of a flat methyl radical."""
    atoms = molecule("CH3")
    return [
        record(90 + k, f"{e}{k}", "MTR", 90, x + shift, e)
        for k, (e, x) in enumerate(zip(atoms.symbols, atoms.positions, strict=True))
    ]


@pytest.mark.fault
def test_a_charge_that_bonds_do_not_tell_is_warned_of(save):
    """The note and the warning were missing: a radical beside an aspartate made it neutral."""
    path = save(build_peptide("D"), extra=methyl())
    with pytest.warns(ChargeWarning, match=r"not close the valence.*MTR 90.*Taken is \+0"):
        (found,) = read_all(path)
    assert "charge" not in found.info
    assert "MTR 90" in found.info["reader_notes"]
    model = path.read_text().replace("END\n", "")
    path.write_text("".join(f"MODEL {k}\n{model}ENDMDL\n" for k in (1, 2)))
    with pytest.warns(ChargeWarning, match="2 of 2 models") as caught:
        assert len(read_all(path)) == 2
    assert len(caught) == 1


@pytest.mark.fault
def test_the_stated_charge_of_an_atom_is_believed(save):
    """An alkoxide whose charge stands in the file is no serine that lacks a hydrogen."""
    stated = {("SER", "OG"): "1-"}
    path = save(build_peptide("AS"), lambda n, r: (r, n) == ("SER", "HG"), charges=stated)
    with pytest.warns(ChargeWarning, match="Taken is -1"):
        (found,) = read_all(path)
    assert found.info["charge"] == -1


def place_of(atoms, name):
    return [found for found, *_ in rows(atoms)].index(name)


@pytest.mark.control
@pytest.mark.filterwarnings("ignore")  # that the charge is not known, of which above
def test_a_proton_that_has_left_its_residue_is_no_missing_one(save):
    """As of a transition state, or a frame of a reaction."""
    peptide = build_peptide("AS")
    peptide.positions[place_of(peptide, "HG")] += 1.5 * (
        peptide.positions[place_of(peptide, "HG")] - peptide.positions[place_of(peptide, "OG")]
    )
    (found,) = read_all(save(peptide))
    assert len(found) == len(peptide)


@pytest.mark.control
@pytest.mark.filterwarnings("ignore")  # that the charge is not known, of which above
def test_a_flat_radical_is_no_amino_acid_that_lacks_a_hydrogen(save):
    peptide = build_peptide("G")
    alpha = place_of(peptide, "CA")
    bound = [k for k in range(len(peptide)) if 1.3 < peptide.get_distance(alpha, k) < 1.6]
    inward = -(peptide.positions[bound] - peptide.positions[alpha]).sum(axis=0)
    hydrogen = place_of(peptide, "HA2")
    peptide.positions[hydrogen] = peptide.positions[alpha] + 1.08 * inward / np.linalg.norm(inward)
    (found,) = read_all(save(peptide, lambda n, r: n == "HA3"))
    assert len(found) == len(peptide) - 1


@pytest.mark.control
@pytest.mark.filterwarnings("ignore")  # that the charge is not known, of which above
def test_an_unknown_metal_and_what_has_too_many_bonds_are_readable(save):
    gold = [record(90, "AU", "AU", 90, (30.0, 0.0, 0.0), "AU", charge="1+")]
    five = build_peptide("A")
    carbon = five.positions[place_of(five, "CB")]
    extra = record(91, "H1", "UNK", 91, carbon + (carbon - five.positions.mean(axis=0)) * 0.25, "H")
    for lines, charge in ((gold, 1), ([extra], 0)):
        (found,) = read_all(save(five, extra=lines))
        assert found.info.get("charge", 0) == charge


@pytest.mark.fault
def test_the_charge_that_is_given_needs_no_warning(save, tmp_path):
    """Warnings are errors here, as with --strict."""
    needs("tblite")
    path = save(build_peptide("D"), extra=methyl())
    tlpot.label(path, "gfn2-xtb", tmp_path / "a.h5", charge=-1, spin=2, progress=False)
    system = tlpot.open_dataset(tmp_path / "a.h5").read([0])[0].system
    assert (system.charge, system.spin) == (-1, 2)
    with pytest.warns(ChargeWarning):
        read_all(path)


@pytest.mark.fault
def test_a_box_is_read_by_the_bonds_across_its_sides(tmp_path):
    """Bonds were sought without the cell: wrapped molecules were of unknown charge."""
    box, lines = 9.3, []
    water = molecule("H2O")
    hydronium = Atoms("OH3", [[0, 0, 0], [0, 0.92, -0.3], [0.8, -0.46, -0.3], [-0.8, -0.46, -0.3]])
    for number, corner in enumerate(np.ndindex(3, 3, 3), start=1):
        one = hydronium if number == 1 else water
        for k, (e, x) in enumerate(zip(one.symbols, one.positions, strict=True)):
            xyz = (x + 3.1 * np.array(corner)) % box  # the first lies around the corner
            lines.append(record(k, f"{e}{k}", "H3O" if number == 1 else "HOH", number, xyz, e))
    path = tmp_path / "box.pdb"
    cell = f"CRYST1{box:9.3f}{box:9.3f}{box:9.3f}  90.00  90.00  90.00 P 1           1\n"
    path.write_text("".join([cell, *lines, "END\n"]))
    (found,) = read_all(path)
    assert found.pbc.all()
    assert found.info["charge"] == 1


def test_a_valence_error_names_its_atoms_in_other_processes_too():
    lacking = molecule("CH3OH")[:-1]
    with pytest.raises(ValenceError) as caught:
        perceive_topology(lacking)
    assert caught.value.short
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.short) == (str(caught.value), caught.value.short)
