"""The shipped model of peptides and organic molecules does what its card says."""

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from needs import needs

from tlpot.calculators import TLPotCalculator
from tlpot.errors import UnknownElementError
from tlpot.models import load
from tlpot.structures import build_peptide

LEVELS = ("aimnet2", "gfn2-xtb", "ani-1ccx")


def attached(atoms, level="aimnet2", **settings):
    atoms = atoms.copy()
    atoms.calc = TLPotCalculator("tlpot-peptides-tiny", level=level, **settings)
    return atoms


def test_levels_carry_the_names_of_their_teachers():
    model = load("tlpot-peptides-tiny")
    assert model.levels == LEVELS
    assert model.elements == (1, 6, 7, 8, 9, 16, 17)
    assert model.at("ani-1ccx").elements == (1, 6, 7, 8)
    with pytest.raises(UnknownElementError, match="S"):
        attached(molecule("CH3SH"), "ani-1ccx").get_potential_energy()


@pytest.mark.parametrize("level", LEVELS)
def test_forces_are_derivatives(level):
    atoms = attached(build_peptide(["SER"]), level, dtype="float64")
    atoms.rattle(0.03, seed=1)
    forces, step = atoms.get_forces(), 1e-4
    for atom, axis in ((0, 0), (5, 1), (11, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(attached(moved, level, dtype="float64").get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * step)
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-6)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-9)


@pytest.mark.parametrize("residue", ["CYS", "SER", "TRP"])
def test_forces_of_a_capped_residue_are_near_those_of_gfn2(residue):
    """The validation frames have a force MAE of 75 meV/Å; built peptides are colder."""
    tblite = needs("tblite.ase")
    atoms = build_peptide([residue], conformation="ppii")
    atoms.rattle(0.03, seed=1)
    reference = atoms.copy()
    reference.calc = tblite.TBLite(method="GFN2-xTB", verbosity=0)
    found = attached(atoms, "gfn2-xtb").get_forces()
    assert 1e3 * np.abs(found - reference.get_forces()).mean() < 160.0


def test_energy_is_conserved():
    atoms = attached(build_peptide("AA"), dtype="float64")
    draws = np.random.default_rng(0).normal(size=atoms.positions.shape)
    masses = atoms.get_masses()[:, None]
    atoms.set_momenta(draws * np.sqrt(masses * units.kB * 300))
    energies = []
    dynamics = VelocityVerlet(atoms, 0.25 * units.fs)
    for _ in range(8):
        dynamics.run(20)
        energies.append(atoms.get_total_energy())
    # the fluctuation of the integrator stays, and there is no drift beyond it
    assert np.ptp(energies) < 1e-3 * len(atoms)
    assert abs(np.mean(energies[4:]) - np.mean(energies[:4])) < 3e-4 * len(atoms)


def test_small_strained_rings_are_outside_of_its_domain():
    inside, ring = molecule("CH3CONH2"), molecule("bicyclobutane")
    assert attached(inside).calc.get_property("domain", inside) > 0.5
    assert attached(ring).calc.get_property("domain", ring) < 0.05
