"""The shipped models of peptides and organic molecules do what their cards say."""

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from needs import needs

from tlpot.calculators import TLPotCalculator
from tlpot.errors import GeometryError, TLPotWarning, UnknownElementError
from tlpot.models import load
from tlpot.structures import build_peptide

LEVELS = ("aimnet2", "gfn2-xtb", "ani-1ccx")


@pytest.fixture(params=["tlpot-peptides-tiny", "tlpot-peptides"])
def name(request):
    return request.param


@pytest.fixture
def attached(name):
    """A function that returns copies of atoms with one of the models attached."""

    def attach(atoms, level="aimnet2", **settings):
        atoms = atoms.copy()
        atoms.calc = TLPotCalculator(name, level=level, **settings)
        return atoms

    return attach


def test_levels_carry_the_names_of_their_teachers(name, attached):
    model = load(name)
    assert model.levels == LEVELS
    assert model.elements == (1, 6, 7, 8, 9, 16, 17)
    assert model.at("ani-1ccx").elements == (1, 6, 7, 8)
    with pytest.raises(UnknownElementError, match="S"):
        attached(molecule("CH3SH"), "ani-1ccx").get_potential_energy()


@pytest.mark.parametrize("level", LEVELS)
def test_forces_are_derivatives(attached, level):
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
def test_forces_of_a_capped_residue_are_near_those_of_gfn2(attached, residue):
    """The validation frames have a force MAE of 75 meV/Å; built peptides are colder."""
    tblite = needs("tblite.ase")
    atoms = build_peptide([residue], conformation="ppii")
    atoms.rattle(0.03, seed=1)
    reference = atoms.copy()
    reference.calc = tblite.TBLite(method="GFN2-xTB", verbosity=0)
    found = attached(atoms, "gfn2-xtb").get_forces()
    assert 1e3 * np.abs(found - reference.get_forces()).mean() < 160.0


def test_energy_is_conserved(attached):
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


def test_charge_follows_from_the_atoms(attached):
    lysine = build_peptide(["LYS"])
    bare = lysine.copy()
    del bare.info["charge"]
    assert lysine.info["charge"] == 1
    with pytest.warns(TLPotWarning, match="Say the charge"):
        energy = attached(bare).get_potential_energy()
    assert attached(lysine).get_potential_energy() == energy
    bare.info["spin"] = 2
    with pytest.raises(GeometryError, match="singlets only"):
        attached(bare).get_potential_energy()


def test_what_is_known_and_what_is_not(attached):
    """Amides, then a strained ring of a kind that few training molecules have, then neither."""
    amide, ring, strange = (
        attached(atoms).calc.get_property("domain", atoms)
        for atoms in (molecule("CH3CONH2"), molecule("bicyclobutane"), molecule("NF3"))
    )
    assert amide > 0.5
    assert ring < 0.2
    assert strange < 0.05


def test_an_ion_and_a_water_add_up_and_have_smooth_forces(attached):
    ammonium, water = molecule("NH3"), molecule("H2O")
    ammonium.append("H")
    ammonium.positions[-1] = ammonium.positions[0] + [0.0, 0.0, 1.02]
    ammonium.info["charge"] = 1

    alone = sum(attached(a, dtype="float64").get_potential_energy() for a in (ammonium, water))
    pair = attached(ammonium + water, dtype="float64")

    def energy_and_pull(distance):
        pair.positions[-3:] = water.positions + np.array([0.0, 0.0, distance])
        return pair.get_potential_energy(), pair.get_forces()[-3:, 2].sum()

    for distance in (11.0, 30.0, 50.0):
        assert energy_and_pull(distance)[0] == pytest.approx(alone, abs=1e-8)
    distances = np.arange(3.0, 11.0, 0.02)
    energies, pulls = np.array([energy_and_pull(d) for d in distances]).T
    slopes = np.gradient(energies, distances)
    np.testing.assert_allclose(-slopes[1:-1], pulls[1:-1], atol=5e-3)
    assert np.abs(np.diff(pulls, n=2)).max() < 0.02  # eV/Å in steps of 0.02 Å
