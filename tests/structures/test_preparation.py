"""Preparing proteins: what is added, what is reported, and that nothing half-done is written."""

import numpy as np
import pytest
from needs import needs

from tlpot.errors import ConfigError, DataError, GeometryError, MissingExtraError
from tlpot.structures import prepare_protein, read_structure
from tlpot.structures.peptide_chain import place
from tlpot.topology import perceive_topology

needs("gemmi", "pdbfixer")
pytestmark = [
    pytest.mark.external,
    pytest.mark.filterwarnings("ignore"),  # OpenMM and PDBFixer import old packages
]


def strand(n_residues, *, start=(0.0, 0.0, 0.0), first=1, side=True):
    """PDB lines of an extended polyalanine without hydrogens, from ideal internal coordinates."""
    a, b, c = np.array([[0.0, 1.4, 0.0], [0.0, 0.0, 0.0], [1.458, 0.0, 0.0]])
    lines, previous = [], [a, b, c]
    for k in range(n_residues):
        if k:
            n = place(tuple(previous[::-1]), 1.335, 116.0, 140.0)
            ca = place((n, previous[2], previous[1]), 1.458, 122.0, 180.0)
            before = previous[2]
        else:
            n, ca, before = b, c, a
        carbon = place((ca, n, before), 1.525, 111.0, -120.0)
        oxygen = place((carbon, ca, n), 1.23, 120.5, -40.0)
        atoms = {"N": n, "CA": ca, "C": carbon, "O": oxygen}
        if side:
            atoms["CB"] = place((ca, n, before), 1.53, 110.5, 120.0)
        previous = [n, ca, carbon]
        for name, x in atoms.items():
            x, y, z = np.add(x, start)
            lines.append(
                f"ATOM  {len(lines) + 1:5d}  {name:<3} ALA A{first + k:4d}    "
                f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00           {name[0]}\n"
            )
    return lines


@pytest.fixture
def source(tmp_path):
    def put(lines):
        path = tmp_path / "in.pdb"
        path.write_text("".join(lines))
        return path

    return put


def names(report):
    return [residue.name for residue in report.topology.residues]


def test_hydrogens_and_the_terminal_oxygen_are_added_and_reported(source, tmp_path):
    report = prepare_protein(source(strand(3)), out=tmp_path / "out.pdb")
    assert names(report) == ["ALA"] * 3
    assert report.topology.charge == 0
    units = report.topology.units
    assert units[report.topology.residues[0].amino].charge == 1
    assert report.hydrogens == 17
    assert any("OXT" in line for line in report.added)
    again = perceive_topology(read_structure(tmp_path / "out.pdb"))
    assert again.units == units
    assert "17 hydrogens added" in report.text()
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["in.pdb", "out.pdb"]


def test_missing_side_chain_atoms_are_added(source, tmp_path):
    report = prepare_protein(source(strand(3, side=False)), out=tmp_path / "out.pdb")
    assert names(report) == ["ALA"] * 3
    assert sum("CB" in line for line in report.added) == 3


def test_caps_close_the_ends_in_mmcif_too(source, tmp_path):
    report = prepare_protein(source(strand(3)), out=tmp_path / "out.cif", caps=True)
    assert names(report) == ["ACE", "ALA", "ALA", "ALA", "NME"]
    assert report.topology.charge == 0
    assert any("ACE added before ALA" in note for note in report.notes)


def test_caps_turn_away_from_what_is_there(source, tmp_path):
    """An ion where the methyl of the cap would be if it were not there."""
    plain = prepare_protein(source(strand(2)), out=tmp_path / "free.pdb", caps=True)
    atoms = read_structure(plain.out)
    methyl = atoms.positions[list(atoms.arrays["atom_name"]).index("CH3")]
    x, y, z = np.add(methyl, [0.0, 0.0, 0.5])
    ion = f"HETATM   90 NA    NA A  90    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00          NA\n"
    report = prepare_protein(source([*strand(2), ion]), out=tmp_path / "out.pdb", caps=True)
    assert names(report) == ["ACE", "ALA", "ALA", "NME", "NA"]
    moved = read_structure(report.out)
    again = moved.positions[list(moved.arrays["atom_name"]).index("CH3")]
    assert np.linalg.norm(again - moved.positions[-1]) > 1.5


def test_a_water_in_the_way_of_a_cap_is_removed(source, tmp_path):
    """In line with CA-N no torsion avoids it."""
    lines = strand(2)
    n, ca = (np.array([float(row[30 + 8 * k : 38 + 8 * k]) for k in range(3)]) for row in lines[:2])
    x, y, z = n + 2.6 * (n - ca) / np.linalg.norm(n - ca)
    water = f"HETATM   90  O   HOH A  90    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00           O\n"
    report = prepare_protein(source([*lines, water]), out=tmp_path / "out.pdb", caps=True)
    assert names(report) == ["ACE", "ALA", "ALA", "NME"]
    assert "water A 90 removed: a cap takes its place" in report.notes


def test_a_broken_chain_becomes_two(source, tmp_path):
    lines = strand(2) + strand(2, start=(0.0, 0.0, 15.0), first=3)
    report = prepare_protein(source(lines), out=tmp_path / "out.pdb")
    assert len(report.topology.chains) == 2
    assert any("chain break between A/ALA 2 and A/ALA 3" in note for note in report.notes)


def test_water_and_other_molecules_go_on_request(source, tmp_path):
    lines = [
        *strand(2),
        "HETATM   90  O   HOH A  90      30.000   0.000   0.000  1.00 10.00           O\n",
        "HETATM   91 ZN    ZN A  91      40.000   0.000   0.000  1.00 10.00          ZN\n",
    ]
    kept = prepare_protein(source(lines), out=tmp_path / "out.pdb")
    assert names(kept) == ["ALA", "ALA", "HOH", "ZN"]
    dropped = prepare_protein(
        source(lines), out=tmp_path / "out.pdb", remove_water=True, remove_hetero=True
    )
    assert names(dropped) == ["ALA", "ALA"]
    assert "removed: 1 x HOH, 1 x ZN" in dropped.notes
    with pytest.raises(DataError, match="nothing is left"):
        prepare_protein(
            source(lines[-2:]), out=tmp_path / "x.pdb", remove_water=True, remove_hetero=True
        )


def test_the_proton_of_a_terminus_depends_on_ph(source, tmp_path):
    acid = prepare_protein(source(strand(2)), out=tmp_path / "out.pdb", ph=7.0)
    base = prepare_protein(source(strand(2)), out=tmp_path / "out.pdb", ph=12.0)
    charges = [r.topology.units[r.topology.residues[0].amino].charge for r in (acid, base)]
    assert charges[0] == 1
    assert charges[1] <= 1


def test_what_cannot_be_repaired_leaves_the_old_file(source, tmp_path):
    out = tmp_path / "out.pdb"
    out.write_text("old")
    ligand = "HETATM   90  C1  UNL A  90      30.000   0.000   0.000  1.00 10.00           C\n"
    with pytest.raises(GeometryError, match=r"A/UNL 90"):
        prepare_protein(source([*strand(2), ligand]), out=out)
    assert out.read_text() == "old"
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["in.pdb", "out.pdb"]


def test_bad_settings_are_refused(source, tmp_path, monkeypatch):
    path = source(strand(2))
    with pytest.raises(ConfigError, match="ph is 15"):
        prepare_protein(path, out=tmp_path / "out.pdb", ph=15)
    with pytest.raises(ConfigError, match=r"ends in .pdb or .cif"):
        prepare_protein(path, out=tmp_path / "out.xyz")
    monkeypatch.setitem(__import__("sys").modules, "pdbfixer", None)
    with pytest.raises(MissingExtraError, match=r"tlpot\[prep\]"):
        prepare_protein(path, out=tmp_path / "out.pdb")
