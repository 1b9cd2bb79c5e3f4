"""Relaxation: optimizers, cells, constraints, line searches that fail, what became of bonds."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.constraints import FixAtoms, FixBondLength
from toys import ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.dynamics import RelaxationSettings, relaxation_steps
from tlpot.dynamics.bond_monitor import bond_changes, rmsd
from tlpot.dynamics.relaxation import OPTIMIZERS
from tlpot.errors import ConfigError, GeometryError, SimulationError


def relaxed(atoms, calculator, **settings):
    atoms.calc = calculator
    found = list(relaxation_steps(atoms, RelaxationSettings(**settings)))
    found[-1].put(atoms)
    return found


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_finds_the_minimum_of_a_morse_pair(optimizer):
    atoms = Atoms("HO", [[0, 0, 0], [0.1, 1.2, 0.4]])
    steps = relaxed(atoms, MorsePotential(epsilon=2.0, rho0=5.0, r0=1.1), optimizer=optimizer,
                    fmax=1e-4)  # fmt: skip
    assert steps[-1].converged
    assert steps[-1].max_force <= 1e-4
    assert atoms.get_distance(0, 1) == pytest.approx(1.1, abs=1e-5)
    assert steps[-1].energy == pytest.approx(-2.0, abs=1e-8)
    assert [step.step for step in steps] == list(range(len(steps)))


def test_it_ends_after_the_steps_that_are_allowed():
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=1)
    steps = relaxed(atoms, TLPotCalculator(ToyModel()), steps=2, fmax=1e-6)
    assert len(steps) == 3
    assert not steps[-1].converged
    assert steps[-1].energy < steps[0].energy


def test_the_size_decides_about_the_optimizer():
    settings = RelaxationSettings()
    assert settings.chosen(100) == "bfgs-line-search"
    assert settings.chosen(101) == "lbfgs"
    assert RelaxationSettings(optimizer="fire").chosen(1000) == "fire"


@pytest.mark.parametrize("pressure", [0.0, 1e5])
def test_a_cell_goes_to_its_pressure(pressure):
    atoms = bulk("Cu", a=3.5) * (1, 1, 2)
    atoms.rattle(0.02, seed=2)
    steps = relaxed(atoms, EMT(), cell=True, pressure=pressure, fmax=1e-3)
    assert steps[-1].converged
    bar = 6.241509e-7
    np.testing.assert_allclose(atoms.get_stress()[:3], -pressure * bar, atol=1e-3)
    assert steps[-1].max_stress < 1e-3 < steps[0].max_stress
    if pressure == 0:
        constant = (atoms.cell.volume / 2 * 4) ** (1 / 3)
        assert constant == pytest.approx(3.59, abs=0.01)  # EMT's copper


def test_constraints_hold():
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=3)
    before = atoms.positions.copy()
    atoms.set_constraint([FixAtoms([0, 1])])
    steps = relaxed(atoms, TLPotCalculator(ToyModel()), fmax=1e-3)
    assert steps[-1].converged
    np.testing.assert_array_equal(atoms.positions[:2], before[:2])
    assert np.abs(atoms.positions[2:] - before[2:]).max() > 0.01


class Coarse(MorsePotential):
    """Forces without flaw, and an energy whose digits hide every descent."""

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        self.results["energy"] = round(self.results["energy"])
        self.results.pop("free_energy", None)


def test_a_line_search_that_fails_is_not_the_end():
    atoms = Atoms("HO", [[0, 0, 0], [0.1, 1.3, 0.4]])
    steps = relaxed(atoms, Coarse(epsilon=2.0, rho0=5.0, r0=1.1), optimizer="bfgs-line-search",
                    fmax=1e-3)  # fmt: skip
    assert steps[-1].converged
    assert atoms.get_distance(0, 1) == pytest.approx(1.1, abs=1e-4)


class Refusing(MorsePotential):
    calls = 0

    def calculate(self, *arguments, **options):
        self.calls += 1
        if self.calls > 2:
            raise GeometryError("atoms 0 and 1 are in one place")
        super().calculate(*arguments, **options)


class Silent(Calculator):
    implemented_properties = ["energy"]  # noqa: RUF012


class Broken(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=(), system_changes=()):
        self.results = {"energy": 0.0, "forces": np.full((len(atoms), 3), np.nan)}


def test_a_refusal_on_the_way_names_the_step():
    atoms = Atoms("HO", [[0, 0, 0], [0.1, 1.3, 0.4]])
    atoms.calc = Refusing(epsilon=2.0, rho0=5.0, r0=1.1)
    steps = relaxation_steps(atoms, RelaxationSettings(optimizer="lbfgs", fmax=1e-5))
    with pytest.raises(SimulationError, match="step"):
        list(steps)


@pytest.mark.parametrize(
    ("atoms", "calculator", "settings", "error", "word"),
    [
        (Atoms(), EMT(), {}, GeometryError, "no atoms"),
        (Atoms("H", [[np.nan, 0, 0]]), EMT(), {}, GeometryError, "atom 0"),
        (molecule("H2"), Broken(), {}, SimulationError, "finite"),
        (molecule("H2"), Silent(), {}, ConfigError, "forces"),
        (molecule("H2"), EMT(), {"cell": True}, GeometryError, "periodic"),
        (bulk("Cu"), TLPotCalculator(ToyModel()), {"fmax": 0.0}, ConfigError, "fmax"),
        (bulk("Cu"), EMT(), {"fmax": np.nan}, ConfigError, "fmax"),
        (bulk("Cu"), EMT(), {"fmax": -1.0}, ConfigError, "fmax"),
        (bulk("Cu"), EMT(), {"steps": 0}, ConfigError, "steps"),
        (bulk("Cu"), EMT(), {"pressure": 1.0}, ConfigError, "pressure"),
        (bulk("Cu"), EMT(), {"optimizer": "lbgfs"}, ConfigError, "'lbfgs'"),
    ],
)
def test_what_makes_no_sense_is_refused(atoms, calculator, settings, error, word):
    with pytest.raises(error, match=word):
        relaxed(atoms, calculator, **settings)


def test_a_structure_that_cannot_move_is_refused():
    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    with pytest.raises(GeometryError, match="FixAtoms"):
        relaxed(atoms, TLPotCalculator(ToyModel()))
    held = bulk("Cu") * (2, 1, 1)
    held.set_constraint(FixBondLength(0, 1))
    with pytest.raises(ConfigError, match="constraints"):
        relaxed(held, EMT(), cell=True)


def test_bonds_that_break_and_form_are_named():
    before, after = molecule("CH3OH"), molecule("CH3OH")
    hydrogen = int(np.flatnonzero(before.numbers == 1)[0])
    bound = 0 if before.get_distance(0, hydrogen) < before.get_distance(1, hydrogen) else 1
    after.positions[hydrogen] += [0.0, 0.0, 3.0]
    broken, formed = bond_changes(before, after)
    assert len(broken) == 1
    assert broken[0].startswith(f"{before.symbols[bound]}{bound}-H{hydrogen} ")
    assert formed == ()
    assert bond_changes(after, before)[1][0].startswith(broken[0].partition(" ")[0])
    assert bond_changes(before, before) == ((), ())


def test_bonds_across_a_cell_are_followed():
    before = Atoms("HO", [[0.1, 2, 2], [3.2, 2, 2]], cell=[4, 4, 4], pbc=True)
    after = before.copy()
    after.positions[1, 0] -= 0.05
    assert bond_changes(before, after) == ((), ())
    after.positions[1, 0] -= 0.9
    broken, _ = bond_changes(before, after)
    assert broken == ("H0-O1 (0.90 to 1.85 Å)",)


def test_rmsd_does_not_see_how_a_molecule_lies():
    before = molecule("CH3OH")
    after = before.copy()
    after.rotate(70, (1, 2, 3))
    after.translate([1, -2, 5])
    assert rmsd(before, after) == pytest.approx(0.0, abs=1e-12)
    after.positions[0] += [0.3, 0.0, 0.0]
    assert 0.05 < rmsd(before, after) < 0.3 / np.sqrt(6)
    mirror = before.copy()
    mirror.positions[:, 2] += [0.3, 0.1, -0.2, 0.4, 0.5, -0.3]
    image = mirror.copy()
    image.positions[:, 0] *= -1
    assert rmsd(mirror, image) > 0.05  # a reflection is no rotation
