"""Input for i-PI and the driver in i-PI itself: batches of beads, forces, virial, errors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms, FixBondLength, FixCartesian
from needs import needs
from toys import ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.errors import ConfigError, GeometryError, OutputError, UnknownElementError
from tlpot.jobs import EnergyMethod
from tlpot.simulation import RingPolymer, write_ipi_input
from tlpot.structures import standard_form


def ipi(test):
    """Marks a test that runs i-PI in this process, whose warnings are not the test's subject."""
    return pytest.mark.external(pytest.mark.filterwarnings("ignore")(test))


METHOD = EnergyMethod(model="tlpot-tiny", dtype="float64")


def dimer() -> Atoms:
    atoms = molecule("H2O")
    other = atoms.copy()
    other.positions += [0.0, 0.4, 3.0]
    return atoms + other


def crystal() -> Atoms:
    atoms = Atoms("CO", [[0.1, 0.2, 0.3], [1.9, 1.5, 2.1]], pbc=True)
    atoms.set_cell([[3.6, 0.5, 0.1], [0.7, 3.8, 0.0], [-0.4, 0.5, 4.1]])
    return atoms


def test_batches_that_beads_do_not_fill_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"batch_size.*\[1, 2, 4, 8\]"):
        write_ipi_input(tmp_path, dimer(), METHOD, RingPolymer(beads=8, batch_size=6))
    assert not list(tmp_path.iterdir())
    path = write_ipi_input(tmp_path, dimer(), METHOD, RingPolymer(beads=6, batch_size=3))
    assert "<batch_size> 3 </batch_size>" in path.read_text()


@pytest.mark.parametrize(
    ("method", "settings", "pbc", "words"),
    [
        (EnergyMethod(model=ToyModel()), RingPolymer(), False, "ToyModel"),
        (METHOD, RingPolymer(ensemble="npt"), False, "ensemble"),
        (METHOD, RingPolymer(beads=0), False, "beads"),
        (METHOD, RingPolymer(timestep=-1.0), False, "timestep"),
        (METHOD, RingPolymer(), (True, False, False), "directions"),
    ],
)
def test_what_makes_no_sense(tmp_path, method, settings, pbc, words):
    atoms = dimer()
    atoms.set_cell([20.0, 20.0, 20.0])
    atoms.pbc = pbc
    with pytest.raises(ConfigError, match=words):
        write_ipi_input(tmp_path, atoms, method, settings)


def test_elements_are_those_of_the_model(tmp_path):
    silicon = Atoms("Si2", [[0, 0, 0], [0, 0, 2.2]])
    with pytest.raises(UnknownElementError, match="Si"):
        write_ipi_input(tmp_path, silicon, METHOD)


@pytest.mark.fault
def test_input_is_replaced_only_when_told(tmp_path):
    write_ipi_input(tmp_path, dimer(), METHOD)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=r"input\.xml exists; replace it with overwrite=True"):
        write_ipi_input(tmp_path, molecule("H2O"), METHOD, RingPolymer(beads=2))
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_ipi_input(tmp_path, molecule("H2O"), METHOD, RingPolymer(beads=2), overwrite=True)
    assert "nbeads='2'" in (tmp_path / "input.xml").read_text()


@pytest.mark.fault
@pytest.mark.parametrize("constraint", [FixBondLength(0, 1), FixCartesian(0, [True, False, False])])
def test_constraints_that_cannot_be_written_are_named(tmp_path, constraint):
    atoms = dimer()
    atoms.set_constraint([FixAtoms([3]), constraint])
    with pytest.raises(ConfigError, match=f"{type(constraint).__name__} cannot be written"):
        write_ipi_input(tmp_path, atoms, METHOD)
    atoms.set_constraint(FixAtoms(range(6)))
    with pytest.raises(ConfigError, match="all atoms are fixed"):
        write_ipi_input(tmp_path, atoms, METHOD)
    atoms.set_constraint()
    atoms.set_masses([16.0, 1.0, 0.0, 16.0, 1.0, 1.0])
    with pytest.raises(GeometryError, match=r"atom 2 \(H\) has the mass 0"):
        write_ipi_input(tmp_path, atoms, METHOD)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def simulation(tmp_path, monkeypatch):
    """Starts i-PI in this process and notes the sizes of batches."""
    needs("ipi")
    scripting = needs("ipi.utils.scripting")
    driver = needs("tlpot.simulation.ipi_driver")
    sizes = []
    evaluator = driver.BatchEvaluator
    plain = evaluator.__call__

    def counted(self, systems, **options):
        sizes.append(len(systems))
        return plain(self, systems, **options)

    monkeypatch.setattr(evaluator, "__call__", counted)
    monkeypatch.chdir(tmp_path)

    def start(atoms, **settings):
        path = write_ipi_input(tmp_path, atoms, METHOD, RingPolymer(**settings), overwrite=True)
        made = scripting.InteractiveSimulation(path.read_text())
        made.sizes = sizes
        return made

    return start


@ipi
@pytest.mark.parametrize("make", [dimer, crystal])
def test_energy_forces_and_virial_are_those_of_ase(simulation, make):
    atoms = make()
    started = simulation(atoms, beads=1, ensemble="nve", steps=1)
    standard = atoms.copy()
    if atoms.pbc.any():
        cell, positions = standard_form(atoms)
        standard.set_cell(cell)
        standard.positions = positions
    standard.calc = TLPotCalculator("tlpot-tiny", dtype="float64")
    system = started.syslist[0]
    assert system.forces.pot * units.Hartree == pytest.approx(
        standard.get_potential_energy(), rel=1e-7
    )
    forces = np.array(system.forces.f).reshape(-1, 3) * units.Hartree / units.Bohr
    np.testing.assert_allclose(forces, standard.get_forces(), atol=1e-5)
    if atoms.pbc.any():
        virial = np.array(system.forces.vir) * units.Hartree
        expected = -standard.get_volume() * standard.get_stress(voigt=False)
        upper = np.triu_indices(3)
        np.testing.assert_allclose(virial[upper], expected[upper], atol=1e-5)


@ipi
@pytest.mark.fault
def test_isotopes_and_fixed_atoms_are_those_of_the_structure(simulation):
    atoms = dimer()
    atoms.set_masses([15.999, 2.014, 2.014, 15.999, 1.008, 1.008])
    atoms.set_constraint(FixAtoms([3, 4]))
    started = simulation(atoms, beads=2, ensemble="nvt")
    beads = started.syslist[0].beads
    np.testing.assert_allclose(beads.m * units._me / units._amu, atoms.get_masses(), rtol=1e-8)
    before = beads.q.tolist()  # an array of i-PI's goes along with it
    started.run(3)
    moved = np.abs(np.array(beads.q.tolist()) - before).reshape(2, 6, 3).max(axis=(0, 2)) > 1e-6
    assert moved.tolist() == [True, True, True, False, False, True]


@ipi
def test_all_beads_are_one_evaluation(simulation):
    started = simulation(dimer(), beads=8, temperature=300.0)
    started.run(2)
    assert set(started.sizes) == {8}
    started = simulation(dimer(), beads=8, batch_size=4)
    started.sizes.clear()
    started.run(1)
    assert set(started.sizes) == {4}


@ipi
def test_the_ring_polymer_keeps_its_energy(simulation):
    found = []
    for timestep in (0.2, 0.1):
        started = simulation(dimer(), beads=4, ensemble="nve", timestep=timestep)
        totals = []
        for _ in range(round(2.0 / timestep)):
            started.run(1)
            totals.append(float(started.properties("conserved")))
        found.append(np.ptp(totals))
    assert found[1] < 0.5 * found[0]


@pytest.mark.external
def test_errors_end_the_command(tmp_path):
    """Two atoms at one place, which only the evaluation finds."""
    needs("ipi")
    write_ipi_input(tmp_path, Atoms("H2", [[0, 0, 0], [0, 0, 0.01]]), METHOD, RingPolymer(beads=2))
    command = [Path(sys.executable).with_name("i-pi"), "input.xml"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode != 0
    assert "GeometryError" in ended.stdout + ended.stderr
