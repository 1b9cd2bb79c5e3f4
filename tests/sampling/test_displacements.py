"""Normal modes, dynamics and dimers."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule as g2
from ase.calculators.calculator import Calculator, all_changes
from ase.data import vdw_radii
from spring_molecule import Springs

from tlpot.sampling.scans import FACTORS, approaches, dimer
from tlpot.sampling.thermal_motion import NormalModes, dynamics, hessian_of
from tlpot.topology import MolecularGraph


def test_the_wavenumber_of_a_diatomic():
    """ν = sqrt(k / μ) / 2πc: 20 eV/Å² and μ = 7.0034 amu are 879.6 cm⁻¹ (k in N/m: 320.4)."""
    atoms = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])
    modes = NormalModes(atoms, hessian_of(atoms, Springs(atoms)))
    mass = 14.007 / 2 * 1.66053907e-27
    expected = np.sqrt(20 * 16.02176634 / mass) / (2 * np.pi * 2.99792458e10)
    assert modes.wavenumbers == pytest.approx([expected], rel=1e-4)


@pytest.mark.parametrize(("name", "count"), [("H2O", 3), ("CO2", 4), ("CH3OH", 12)])
def test_translations_and_rotations_are_no_modes(name, count):
    atoms = g2(name)
    modes = NormalModes(atoms, hessian_of(atoms, Springs(atoms)))
    assert len(modes.omega_squared) == count
    assert np.allclose(modes.vectors @ modes.vectors.T, np.eye(count))


def test_a_saddle_is_told():
    atoms = g2("H2O")
    modes = NormalModes(atoms, -hessian_of(atoms, Springs(atoms)))
    assert modes.imaginary == 3


def test_thermal_energies_are_those_of_the_formula():
    """E = 3/2 N kT Σ c with Σ c uniform in [0, 1]: 3/4 N kT in the mean."""
    atoms = g2("H2O")
    hessian = hessian_of(atoms, Springs(atoms))
    modes = NormalModes(atoms, hessian)
    drawn = modes.sample(400.0, 2000, seed=1)
    shifts = np.array([(c.positions - atoms.positions).ravel() for c in drawn])
    energies = 0.5 * np.einsum("ni,ij,nj->n", shifts, hessian, shifts)
    most = 1.5 * 3 * units.kB * 400.0
    assert energies.max() < most * 1.0001
    assert energies.mean() == pytest.approx(most / 2, rel=0.04)
    assert abs(shifts.mean(axis=0)).max() < 0.01
    masses = np.repeat(atoms.get_masses(), 3)
    assert abs((shifts * masses).reshape(-1, 3, 3).sum(axis=1)).max() < 1e-8


def test_soft_modes_are_not_driven_far():
    atoms = g2("H2O")
    modes = NormalModes(atoms, np.zeros((9, 9)))
    drawn = modes.sample(300.0, 50, seed=0)
    assert max(np.abs(c.positions - atoms.positions).max() for c in drawn) < 6.0
    assert np.isfinite([c.positions for c in drawn]).all()


def test_dynamics_gives_what_was_asked_for_with_its_energies():
    atoms = g2("CH3OH")
    calculator, molecule = Springs(atoms), MolecularGraph(atoms)
    found, lost = dynamics([atoms, atoms], molecule, calculator, temperature=300.0, count=9, seed=5,
                           interval=10)  # fmt: skip
    assert (len(found), lost) == (9, 0)
    assert len({c.seed for c in found}) == 2
    for candidate in found:
        placed = candidate.placed(atoms)
        placed.calc = Springs(atoms)
        assert placed.get_potential_energy() == pytest.approx(candidate.energy, abs=1e-9)
        assert np.allclose(placed.get_forces(), candidate.forces)
    again, _ = dynamics([atoms, atoms], molecule, calculator, temperature=300.0, count=9, seed=5,
                        interval=10)  # fmt: skip
    assert np.allclose(again[-1].positions, found[-1].positions)


class Repulsive(Calculator):
    """A toy that tears everything apart."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        arms = atoms.positions - atoms.positions.mean(axis=0)
        self.results = {"energy": -50.0 * (arms**2).sum(), "forces": 100.0 * arms}


def test_an_explosion_ends_the_trajectory_and_is_counted():
    atoms = g2("H2O")
    found, lost = dynamics([atoms], MolecularGraph(atoms), Repulsive(), temperature=300.0, count=7,
                           seed=0)  # fmt: skip
    assert (found, lost) == ([], 7)


def test_dimers_touch_where_they_should():
    one, other = g2("H2O"), g2("CH3OH")
    other.info["charge"] = -1
    pair = dimer(one, other)
    assert pair.info["charge"] == -1
    assert len(MolecularGraph(pair).pieces) == 2
    found = approaches(one.positions, other.positions, pair, 20, seed=2)
    assert len(found) == 20
    radii = vdw_radii[pair.numbers]
    for k, candidate in enumerate(found):
        first, second = candidate.positions[:3], candidate.positions[3:]
        gaps = np.linalg.norm(first[:, None] - second[None], axis=2)
        assert (gaps / (radii[:3, None] + radii[None, 3:])).min() == pytest.approx(
            FACTORS[k % len(FACTORS)], abs=1e-9
        )
        inside = np.linalg.norm(second[:, None] - second[None], axis=2)
        assert np.allclose(inside, other.get_all_distances())
        assert MolecularGraph(pair).intact(candidate.placed(pair))
    directions = [c.positions[3:].mean(0) / np.linalg.norm(c.positions[3:].mean(0)) for c in found]
    assert abs(np.dot(directions[0], directions[8])) < 0.999
