"""Preparing proteins: what is added, what is reported, and that nothing half-done is written."""

import numpy as np
import pytest
from needs import needs

from tlpot.cli import main
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


def renamed(lines, residue, other):
    return [row.replace(f" ALA A{residue:4d}", f" {other} A{residue:4d}") for row in lines]


ALCOHOL = [
    f"HETATM   9{k}  {name}  GOL A  90    {x:8.3f}{y:8.3f}   0.000  1.00 10.00\n"
    for k, (name, x, y) in enumerate([("C1", 40, 0), ("O1", 40, 1.4), ("C2", 41.5, -0.4)])
]


@pytest.fixture
def offline(monkeypatch):
    """PDBFixer looks for residues that it does not know on the network."""
    import pdbfixer.pdbfixer

    def refuse(address):
        raise OSError(f"no network for {address}")

    monkeypatch.setattr(pdbfixer.pdbfixer, "urlopen", refuse)


@pytest.mark.fault
@pytest.mark.usefixtures("offline")
def test_what_pdbfixer_does_not_know_is_named_with_the_options(source, tmp_path):
    """The message advised to run --prepare."""
    out = tmp_path / "out.pdb"
    with pytest.raises(GeometryError, match=r"GOL \(A/GOL 90\).*--remove-hetero") as caught:
        prepare_protein(source([*strand(2), *ALCOHOL]), out=out)
    assert "--prepare" not in str(caught.value)
    assert "--replace-nonstandard" not in str(caught.value)
    norleucine = renamed(strand(3), 2, "NLE")
    with pytest.raises(
        GeometryError, match=r"in.pdb.*NLE.*--replace-nonstandard.*LEU of NLE"
    ) as caught:
        prepare_protein(source(norleucine), out=out)
    assert "--remove-hetero" not in str(caught.value)
    assert not out.exists()
    report = prepare_protein(source(norleucine), out=out, replace_nonstandard=True)
    assert names(report) == ["ALA", "LEU", "ALA"]
    assert "A/NLE 2 becomes LEU" in report.notes


@pytest.mark.fault
def test_atoms_in_the_way_are_no_reason_to_prepare_again(source, tmp_path):
    """The message advised to run --prepare."""
    lines = strand(3)
    lines[4] = lines[4][:30] + f"{9.0:8.3f}{9.0:8.3f}{9.0:8.3f}" + lines[4][54:]
    with pytest.raises(GeometryError, match=r"in.pdb: what is missing was added") as caught:
        prepare_protein(source(lines), out=tmp_path / "out.pdb")
    assert "--prepare" not in str(caught.value)


@pytest.mark.fault
def test_chains_keep_their_names(source, tmp_path):
    """mmCIF chains AAA and B1 became A and B without a word, waters of AAA another one."""
    import gemmi

    water = "HETATM   90  O   HOH C  90      30.000   0.000   0.000  1.00 10.00           O\n"
    second = [row.replace(" A ", " B ") for row in strand(2, start=(0, 0, 20))]
    second = [row[:21] + "B" + row[22:] for row in second]
    structure = gemmi.read_structure(str(source([*strand(2), "TER\n", *second, "TER\n", water])))
    for chain, name in zip(structure[0], ("AAA", "B1", "AAA"), strict=True):
        chain.name = name
    structure.setup_entities()
    path = tmp_path / "in.cif"
    structure.make_mmcif_document().write_file(str(path))
    prepare_protein(path, out=tmp_path / "out.cif")
    labels = read_structure(tmp_path / "out.cif").arrays["residue_label"].tolist()
    assert list(dict.fromkeys(labels)) == [
        "AAA/ALA 1",
        "AAA/ALA 2",
        "B1/ALA 1",
        "B1/ALA 2",
        "AAA/HOH 90",
    ]
    report = prepare_protein(path, out=tmp_path / "out.pdb")
    assert any("chain AAA is A, B1 is B in out.pdb" in note for note in report.notes)
    assert report.added[0].startswith("AAA/ALA 2: OXT")
    labels = read_structure(tmp_path / "out.pdb").arrays["residue_label"].tolist()
    assert list(dict.fromkeys(labels)) == ["A/ALA 1", "A/ALA 2", "B/ALA 1", "B/ALA 2", "A/HOH 90"]


@pytest.mark.fault
@pytest.mark.usefixtures("offline")
def test_the_command_line_has_every_option(source, tmp_path, capsys):
    """They were arguments of Python's only, which messages named nevertheless."""
    water = "HETATM   80  O   HOH A  80      30.000   0.000   0.000  1.00 10.00           O\n"
    once = [*renamed(strand(3), 2, "NLE"), *ALCOHOL, water]
    models = [line for k in (1, 2) for line in (f"MODEL     {k:4d}\n", *once, "ENDMDL\n")]
    path, out = source(models), tmp_path / "out.pdb"
    flags = ["--caps", "--remove-water", "--remove-hetero", "--replace-nonstandard"]
    command = ["fragment", str(path), "--prepare", str(out)]
    assert main([*command, *flags]) == 0
    said = capsys.readouterr().out
    for part in ("--model-number", "removed: 1 x GOL, 1 x HOH", "NLE 2 becomes LEU", "ACE added"):
        assert part in said
    assert main([*command, *flags, "--overwrite", "--model-number", "2"]) == 0
    assert "--model-number" not in capsys.readouterr().out
    assert main([*command, *flags, "--overwrite", "--model-number", "3"]) != 0
    assert "no model 3; it has 1, 2" in capsys.readouterr().err
    assert main(["fragment", str(path), "--remove-water"]) != 0
    assert "--remove-water goes with --prepare" in capsys.readouterr().err
