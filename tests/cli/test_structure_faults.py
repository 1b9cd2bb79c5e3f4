"""Structures that commands used to misread: charges, locations of atoms, models, blank lines."""

import io
import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write
from needs import needs
from toys import ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.cli import main
from tlpot.data import frames_of, open_dataset
from tlpot.engines import EngineSpec
from tlpot.errors import GeometryError
from tlpot.labelling import label
from tlpot.sampling import named_fragments
from tlpot.structures import build_peptide, read_frames, read_structure

pytestmark = pytest.mark.fault

AMMONIUM = Atoms(
    "NH4", 0.59 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
)


def stated(atoms, **info):
    copy = atoms.copy()
    copy.set_initial_magnetic_moments(None)
    copy.info.update(info)
    return copy


def energies(file, level="gfn2-xtb"):
    return [f.labels[level].energy for f in frames_of(open_dataset(file)) if level in f.labels]


def line(serial, name, residue, number, xyz, element, alt=" ", occupancy=1.0):
    padded = name if len(name) == 4 else f" {name}".ljust(4)
    x, y, z = xyz
    return (
        f"HETATM{serial:5d} {padded}{alt}{residue:>3s} A{number:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{0:6.2f}          {element:>2s}\n"
    )


def water(dz=0.0, start=1, element=True, alt=False):
    rows = [("O", (0, 0, dz)), ("H1", (0, 0.757, 0.587 + dz)), ("H2", (0, -0.757, 0.587 + dz))]
    lines = []
    for k, (name, xyz) in enumerate(rows):
        symbol = name[0] if element else ""
        if alt and k > 0:
            moved = (xyz[0] + 0.1, xyz[1], xyz[2])
            lines.append(line(start + k, name, "HOH", 1, xyz, symbol, "A", 0.4))
            lines.append(line(start + k, name, "HOH", 1, moved, symbol, "B", 0.6))
        else:
            lines.append(line(start + k, name, "HOH", 1, xyz, symbol))
    return lines


@pytest.mark.parametrize(
    "atoms",
    [
        stated(AMMONIUM, total_charge=1),
        stated(AMMONIUM, net_charge=1),
        stated(AMMONIUM, q=1),
        pytest.param(stated(AMMONIUM, charge="+1"), marks=pytest.mark.control),
    ],
)
def test_label_understands_the_charge_under_its_names(tmp_path, atoms):
    needs("tblite")
    write(tmp_path / "ion.xyz", atoms, format="extxyz")
    write(tmp_path / "plain.xyz", stated(AMMONIUM, charge=1, spin=1), format="extxyz")
    for name in ("ion", "plain"):
        label(tmp_path / f"{name}.xyz", "gfn2-xtb", tmp_path / f"{name}.h5", show=False)
    (found,), (right,) = (energies(tmp_path / f"{n}.h5") for n in ("ion", "plain"))
    assert found == pytest.approx(right, abs=1e-6)


def test_label_understands_charges_and_moments_of_atoms(tmp_path):
    needs("tblite")
    ion = stated(AMMONIUM)
    ion.set_initial_charges([1, 0, 0, 0, 0])
    radical = stated(molecule("CH3"), multiplicity=2)
    report = label([ion, molecule("CH3"), radical], "gfn2-xtb", tmp_path / "x.h5", show=False)
    assert not report.failures
    frames = list(frames_of(open_dataset(tmp_path / "x.h5")))
    assert {(f.system.charge, f.system.spin) for f in frames} == {(1, 1), (0, 2)}


def test_a_half_charge_names_its_frame(tmp_path, capsys):
    good, bad = stated(AMMONIUM, charge=1), stated(AMMONIUM, charge=0.5)
    write(tmp_path / "ions.xyz", [good, bad], format="extxyz")
    arguments = ["label", str(tmp_path / "ions.xyz"), "--engine", "gfn2-xtb", "-o"]
    assert main([*arguments, str(tmp_path / "x.h5")]) == 2
    said = capsys.readouterr().err
    assert "ions.xyz" in said
    assert "1" in said.partition("ions.xyz")[2][:10]
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param("gfn2-xtb", marks=pytest.mark.control),
        "ase:ase.calculators.lj:LennardJones",
    ],
)
def test_an_odd_number_of_electrons_is_no_singlet(tmp_path, engine):
    needs("tblite")
    level = None if engine == "gfn2-xtb" else "toy"
    spec = EngineSpec(name=engine, level=level)
    report = label(stated(molecule("CH3")), spec, tmp_path / "x.h5", show=False)
    assert report.n_labelled == 0
    assert "electrons" in report.failures[0].outcome.error


def test_keys_name_what_a_file_calls_the_charge(tmp_path, capsys):
    needs("tblite")
    write(tmp_path / "ion.xyz", stated(AMMONIUM, z=1, m=1), format="extxyz")
    arguments = ["label", str(tmp_path / "ion.xyz"), "--engine", "gfn2-xtb", "-o"]
    out = tmp_path / "x.h5"
    assert main([*arguments, str(out), "--keys", "charge=z", "spin=m"]) == 0
    (frame,) = frames_of(open_dataset(out))
    assert (frame.system.charge, frame.system.spin) == (1, 1)
    assert main([*arguments, str(tmp_path / "y.h5"), "--keys", "charge=zz"]) == 2
    assert "zz" in capsys.readouterr().err


def test_calculators_understand_charges_or_refuse():
    calculator = TLPotCalculator(ToyModel(elements=(1, 7), uses_charge=True))
    right = calculator.get_potential_energy(stated(AMMONIUM, charge=1))
    assert calculator.get_potential_energy(stated(AMMONIUM, total_charge=1)) == right
    assert calculator.get_potential_energy(stated(AMMONIUM, charge=1, multiplicity=3)) != right
    with pytest.raises(GeometryError, match="electrons"):
        calculator.get_potential_energy(stated(AMMONIUM))
    with pytest.raises(GeometryError, match="singlets"):
        TLPotCalculator(ToyModel(elements=(1, 7))).get_potential_energy(
            stated(AMMONIUM, net_charge=1)
        )
    with pytest.warns(UserWarning, match="electrons"):
        TLPotCalculator(ToyModel(elements=(1, 7))).get_potential_energy(stated(AMMONIUM))


def test_sample_refuses_a_radical_that_states_nothing(tmp_path, capsys):
    needs("tblite")
    write(tmp_path / "ch3.xyz", stated(molecule("CH3")), format="extxyz")
    assert main(["sample", str(tmp_path / "ch3.xyz"), "-o", str(tmp_path / "s.h5")]) == 2
    assert "electrons" in capsys.readouterr().err


def test_one_location_of_every_atom_in_every_command(tmp_path):
    needs("gemmi")
    (tmp_path / "alt.pdb").write_text("".join([*water(alt=True), "END\n"]))
    assert len(read_structure(str(tmp_path / "alt.pdb"))) == 3  # md
    assert [len(frame) for frame in read_frames(str(tmp_path / "alt.pdb"))] == [3]  # build
    assert [len(f.atoms) for f in named_fragments([str(tmp_path / "alt.pdb")])] == [3]  # sample
    needs("tblite")
    label(tmp_path / "alt.pdb", "gfn2-xtb", tmp_path / "x.h5", show=False)
    (frame,) = frames_of(open_dataset(tmp_path / "x.h5"))
    assert len(frame.system) == 3
    assert frame.system.positions[:, 0] == pytest.approx([0, 0.1, 0.1])
    assert frame.labels["gfn2-xtb"].energy == pytest.approx(-138.0, abs=1.0)


def test_hydrogens_of_one_location_only_are_not_lost(tmp_path, capsys):
    """An oxygen in two places, and hydrogens that the likelier one lacks."""
    needs("gemmi", "tblite")
    lines = []
    for k in range(2):  # two, so that the number of electrons stays even without them
        at = 9.0 * k
        lines += [
            line(1, "O", "HOH", k + 1, (at, 0, 0), "O", "A", 0.4),
            line(2, "O", "HOH", k + 1, (at + 0.1, 0, 0), "O", "B", 0.6),
            line(3, "H1", "HOH", k + 1, (at, 0.757, 0.587), "H", "A", 0.4),
            line(4, "H2", "HOH", k + 1, (at, -0.757, 0.587), "H"),
        ]
    (tmp_path / "w.pdb").write_text("".join([*lines, "END\n"]))
    out = tmp_path / "x.h5"
    assert main(["label", str(tmp_path / "w.pdb"), "--engine", "gfn2-xtb", "-o", str(out)]) == 0
    assert "A/HOH 2: alternate location B" in capsys.readouterr().out
    (frame,) = frames_of(open_dataset(out))
    assert sorted(frame.system.atomic_numbers) == [1, 1, 1, 1, 8, 8]
    assert frame.labels["gfn2-xtb"].energy == pytest.approx(-276.0, abs=1.5)


def test_another_tautomer_adds_no_hydrogen(tmp_path):
    needs("gemmi")
    rows = [
        line(1, "O", "HOH", 1, (0, 0, 0), "O"),
        line(2, "H1", "HOH", 1, (0, 0.757, 0.587), "H"),
        line(3, "H2", "HOH", 1, (0, -0.757, 0.587), "H", "A", 0.6),
        line(4, "H3", "HOH", 1, (0.8, -0.3, -0.5), "H", "B", 0.4),
    ]
    (tmp_path / "w.pdb").write_text("".join([*rows, "END\n"]))
    found = read_structure(str(tmp_path / "w.pdb"))
    assert found.get_chemical_formula() == "H2O"
    assert "H3 only in another one, dropped" in found.info["reader_notes"]


def test_elements_are_found_without_their_column(tmp_path):
    needs("gemmi")
    serine = build_peptide("S")  # whose OG is no oganesson
    lines = []
    for k, (name, residue, number) in enumerate(
        zip(*(serine.arrays[key] for key in ("atomtypes", "residuenames", "residuenumbers")),
            strict=True)
    ):  # fmt: skip
        x, y, z = serine.positions[k]
        label = name.strip() if len(name.strip()) == 4 else f" {name.strip():<3}"
        lines.append(f"ATOM  {k + 1:5d} {label} {residue.strip():>3} A{int(number):4d}    "
                     f"{x:8.3f}{y:8.3f}{z:8.3f}{1:6.2f}{0:6.2f}\n")  # fmt: skip
    (tmp_path / "s.pdb").write_text("".join([*lines, "END\n"]))
    found = read_structure(str(tmp_path / "s.pdb"))
    assert found.get_chemical_formula() == serine.get_chemical_formula()


def test_models_are_conformations(tmp_path):
    needs("gemmi")
    models = []
    for k in range(3):
        models += [f"MODEL     {k + 1:4d}\n", *water(dz=0.1 * k), "ENDMDL\n"]
    (tmp_path / "m.pdb").write_text("".join([*models, "END\n"]))
    assert [len(frame) for frame in read_frames(str(tmp_path / "m.pdb"))] == [3, 3, 3]
    first = read_structure(str(tmp_path / "m.pdb"))
    assert first.positions[0, 2] == 0.0
    assert "first of 3 models" in first.info["reader_notes"]


def test_a_placeholder_is_no_cell(tmp_path):
    needs("gemmi")
    cell = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1          \n"
    (tmp_path / "w.pdb").write_text("".join([cell, *water(), "END\n"]))
    assert not read_structure(str(tmp_path / "w.pdb")).pbc.any()
    box = molecule("H2O", cell=[1, 1, 1], pbc=True)
    with pytest.raises(GeometryError, match="lattice vector"):
        label(box, EngineSpec(name="ase:label_toys:Spring", level="toy"), tmp_path / "x.h5")


def test_a_cell_is_taken_where_atoms_fill_it(tmp_path):
    needs("gemmi")
    full = "CRYST1    3.100    3.100    3.100  90.00  90.00  90.00 P 1           1          \n"
    for cell, periodic in ((full, True), (full.replace("3.100", "9.100"), False)):
        (tmp_path / "w.pdb").write_text("".join([cell, *water(), "END\n"]))
        found = read_structure(str(tmp_path / "w.pdb"))
        assert found.pbc.all() == periodic
        assert "cell" in found.info["reader_notes"]


def test_label_refuses_atoms_in_one_place_before_any_engine(tmp_path):
    twice = Atoms("OHHH", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59], [0, 0.76, 0.6]])
    twice.info.update(charge=1, spin=1)
    calls = tmp_path / "calls"
    spec = EngineSpec(name="ase:label_toys:Spring", settings={"calls": str(calls)}, level="toy")
    with pytest.raises(GeometryError, match="apart"):
        label([molecule("H2O"), twice], spec, tmp_path / "x.h5", show=False)
    assert not calls.exists()


def test_blank_lines_between_frames_lose_none(tmp_path):
    text = io.StringIO()
    for k in range(4):
        frame = molecule("H2O")
        frame.rattle(0.01, seed=k)
        write(text, frame, format="xyz")
        text.write("\n")
    (tmp_path / "w.xyz").write_text(text.getvalue())
    assert len(read_frames(str(tmp_path / "w.xyz"))) == 4
    spec = EngineSpec(name="ase:ase.calculators.lj:LennardJones", level="toy")
    report = label(tmp_path / "w.xyz", spec, tmp_path / "x.h5", show=False)
    assert report.n_labelled == 4


@pytest.mark.control
def test_trajectories_of_proteins_can_be_read_again(tmp_path):
    needs("gemmi")
    atoms = build_peptide("G")
    names = [name.strip() for name in atoms.arrays["atomtypes"]]
    rows = [
        line(k + 1, names[k], atoms.arrays["residuenames"][k].strip(),
             int(atoms.arrays["residuenumbers"][k]), atoms.positions[k], atoms.symbols[k])
        for k in range(len(atoms))
    ]  # fmt: skip
    (tmp_path / "g.pdb").write_text("".join([*rows, "END\n"]))
    out = tmp_path / "run"
    command = ["md", str(tmp_path / "g.pdb"), "tlpot-fragments", "--level", "gfn2-xtb"]
    assert main([*command, "--steps", "2", "--log-every", "1", "--out", str(out)]) == 0
    assert len(read_frames(f"{out}.xyz")) == 3
    assert json.loads((tmp_path / "run.setup.json").read_text())["structure"]["charge"] == 0
