"""Protons on donors of metals, energies of constrained runs, residues as the file numbers them."""

import re

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian, Hookean
from ase.io import read
from needs import needs
from toys import ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.cli import main
from tlpot.dynamics import MDSettings, run_md
from tlpot.structures import build_peptide

pytestmark = pytest.mark.fault

WATER = Atoms("OHH", [[0, 0, 0], [0, 0.757, 0.587], [0, -0.757, 0.587]])


def pdb(atoms, first=1, hydrogens=True, extra=()):
    lines = []
    for k in range(len(atoms)):
        if not hydrogens and atoms.numbers[k] == 1:
            continue
        name = atoms.arrays["atomtypes"][k].strip()
        residue = atoms.arrays["residuenames"][k].strip()
        residue = {"HID": "HIS", "HIE": "HIS", "HIP": "HIS"}.get(residue, residue)
        number = int(atoms.arrays["residuenumbers"][k]) + first - 1
        lines.append(_line(k + 1, name, residue, "A", number, atoms.positions[k], atoms.symbols[k]))
    for k, (name, xyz) in enumerate(extra):
        lines += ["TER\n", _line(900 + k, name, name, "Z", 1 + k, xyz, name)]
    return "".join([*lines, "END\n"])


def _line(serial, name, residue, chain, number, xyz, element):
    padded = name if len(name) == 4 else f" {name}".ljust(4)
    record = "HETATM" if residue in ("ACE", "NME", "ZN") else "ATOM"
    x, y, z = xyz
    return (
        f"{record:6s}{serial:5d} {padded} {residue:>3s} {chain}{number:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{1:6.2f}{0:6.2f}          {element:>2s}\n"
    )


@pytest.mark.filterwarnings("ignore")  # OpenMM and PDBFixer import old packages
@pytest.mark.parametrize(
    ("sequence", "donor", "proton", "reach", "gone", "stays"),
    [
        (["CYS"], "SG", "HG", 2.3, {"HG"}, {"HA", "HB2"}),
        (["HID"], "ND1", "HD1", 2.05, {"HD1"}, {"HE2"}),
        pytest.param(["HIE"], "NE2", "HE2", 2.05, {"HE2"}, {"HD1"}, marks=pytest.mark.control),
    ],
)
def test_prepare_leaves_no_proton_on_a_donor_of_zinc(
    tmp_path, sequence, donor, proton, reach, gone, stays
):
    needs("gemmi", "pdbfixer")
    from tlpot.structures import prepare_protein

    atoms = build_peptide(sequence, conformation="extended")
    names = [name.strip() for name in atoms.arrays["atomtypes"]]
    start, end = atoms.positions[names.index(donor)], atoms.positions[names.index(proton)]
    zinc = start + reach * (end - start) / np.linalg.norm(end - start)
    source = tmp_path / "in.pdb"
    source.write_text(pdb(atoms, hydrogens=False, extra=[("ZN", zinc)]))
    report = prepare_protein(source, out=tmp_path / "out.pdb")
    residue = "CYS" if sequence == ["CYS"] else "HIS"
    lines = (tmp_path / "out.pdb").read_text().splitlines()
    side = {line[12:16].strip() for line in lines if line[17:20] == residue}
    assert not gone & side
    assert stays <= side
    assert report.topology.residues[1].partners  # bound to zinc


def run(tmp_path, constraint, name="run"):
    atoms = WATER.copy()
    atoms.set_constraint(constraint)
    calculator = TLPotCalculator(ToyModel(elements=(1, 8)))
    settings = MDSettings(ensemble="nve", steps=4, log_every=2, temperature=300.0, timestep=0.5)
    run_md(atoms, calculator, settings, tmp_path / name, progress=False)
    return read(tmp_path / f"{name}.xyz", ":"), calculator


@pytest.mark.filterwarnings("ignore:.*cannot hold the constraints")
def test_energies_of_a_trajectory_are_without_constraints(tmp_path):
    frames, calculator = run(tmp_path, Hookean(a1=0, a2=1, rt=0.5, k=15.0))
    for frame in frames:
        bare = Atoms(frame.numbers, frame.positions)
        assert frame.get_potential_energy() == pytest.approx(
            calculator.get_potential_energy(bare), abs=1e-6
        )
        np.testing.assert_allclose(frame.get_forces(), calculator.get_forces(bare), atol=1e-6)


def test_constraints_that_a_trajectory_cannot_hold_are_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="Hookean"):
        frames, _ = run(tmp_path, Hookean(a1=0, a2=1, rt=0.5, k=15.0))
    calculator = TLPotCalculator(ToyModel(elements=(1, 8)))
    settings = MDSettings(ensemble="nve", steps=2, log_every=2, temperature=300.0, timestep=0.5)
    with pytest.warns(UserWarning, match="Hookean"):
        run_md(frames[-1], calculator, settings, tmp_path / "again", progress=False)


@pytest.mark.control
@pytest.mark.parametrize("constraint", [FixAtoms([0]), FixCartesian([0], mask=[1, 0, 0])])
def test_fixed_atoms_are_kept(tmp_path, constraint):
    frames, _ = run(tmp_path, constraint)
    assert type(frames[-1].constraints[0]) is type(constraint)


def test_residues_are_numbered_as_in_the_file(tmp_path, capsys):
    needs("gemmi")
    (tmp_path / "p.pdb").write_text(pdb(build_peptide("AG"), first=41))
    command = ["fragment", str(tmp_path / "p.pdb"), "--model", "tlpot-fragments"]
    forces = tmp_path / "f.xyz"
    assert main([*command, "--level", "gfn2-xtb", "--forces", str(forces)]) == 0
    said = capsys.readouterr().out
    for table in (said.partition("scheme")[0], said.partition("energy (eV)")[2]):
        assert re.search(r"A/42 +ALA", table)
    assert np.isfinite(read(forces).get_potential_energy())
