"""Vibrations and thermochemistry against closed forms, differences and tables."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.constraints import FixAtoms, FixBondLength
from ase.optimize import BFGS
from ase.thermochemistry import IdealGasThermo
from toys import ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.dynamics import (
    check_stationary,
    harmonic_modes,
    hessian_of,
    thermochemistry,
    write_modes,
    write_molden,
)
from tlpot.dynamics.frequencies import symmetry_number
from tlpot.dynamics.vibrations import AUTOMATIC, NUMERICAL
from tlpot.errors import ConfigError, GeometryError

JOULES = units.mol / units.J


def toy():
    return TLPotCalculator(ToyModel())


def minimum(name):
    atoms = molecule(name) if isinstance(name, str) else name
    atoms.calc = toy()
    BFGS(atoms, logfile=None).run(fmax=1e-7, steps=500)
    return atoms


def vibrations(atoms, calculator=None):
    return harmonic_modes(atoms, hessian_of(atoms, calculator or toy())[0])


@pytest.fixture(scope="module")
def formaldehyde():
    return minimum("H2CO")


def test_a_morse_pair_has_the_wavenumber_of_its_curvature():
    atoms = Atoms("HO", [[0, 0, 0], [0.0, 1.1, 0.0]])
    calculator = MorsePotential(epsilon=2.0, rho0=5.0, r0=1.1)
    hessian, how = hessian_of(atoms, calculator)
    assert how == NUMERICAL
    found = harmonic_modes(atoms, hessian)
    first, second = atoms.get_masses()
    reduced = first * second / (first + second)
    constant = 2 * 2.0 * (5.0 / 1.1) ** 2
    # the wavenumber in SI units, by another way than the package's
    frequency = np.sqrt(constant * units._e * 1e20 / (reduced * units._amu)) / (2 * np.pi)
    assert found.shape == "linear"
    assert found.wavenumbers == pytest.approx([frequency / (100 * units._c)], rel=2e-3)
    assert found.force_constants[0] == pytest.approx(
        found.reduced_masses[0] * (2 * np.pi * 100 * units._c * found.wavenumbers[0]) ** 2
        * units._amu / units._e / 1e20, rel=1e-6,
    )  # fmt: skip
    assert np.abs(found.rigid_wavenumbers).max() < 0.01 * found.wavenumbers[0]


def test_automatic_derivatives_agree_with_differences_of_fourth_order(formaldehyde):
    atoms, step = formaldehyde.copy(), 2e-3
    hessian, how = hessian_of(atoms, toy())
    assert how == AUTOMATIC
    rows = np.zeros((12, 12))
    calculator = toy()
    for k in range(12):
        for shift, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            moved = atoms.copy()
            moved.positions[k // 3, k % 3] += shift * step
            rows[k] -= weight * calculator.get_forces(moved).ravel() / (12 * step)
    by_differences = harmonic_modes(atoms, 0.5 * (rows + rows.T)).wavenumbers
    found = harmonic_modes(atoms, hessian).wavenumbers
    assert len(found) == 6
    np.testing.assert_allclose(found, by_differences, rtol=0, atol=1e-3)
    plain = np.sort(np.abs(found))
    assert plain[-1] > 1000  # so that the agreement means something


def test_our_central_differences_are_close(formaldehyde):
    class Foreign:
        """The same model for whoever does not know of its Hessian."""

        implemented_properties = ("energy", "forces")

        def __init__(self):
            self.calculator = toy()

        def __getattr__(self, name):
            if name == "get_hessian":
                raise AttributeError(name)
            return getattr(self.calculator, name)

    seen = []
    atoms = formaldehyde.copy()
    hessian, how = hessian_of(atoms, Foreign(), on_row=lambda *row: seen.append(row))
    assert how == NUMERICAL
    assert seen == [(k + 1, 12) for k in range(12)]
    found = harmonic_modes(atoms, hessian).wavenumbers
    np.testing.assert_allclose(found, vibrations(atoms).wavenumbers, rtol=0, atol=1.0)


def test_rows_of_automatic_derivatives_are_counted_and_may_be_stopped(formaldehyde):
    seen = []
    hessian_of(formaldehyde, toy(), on_row=lambda *row: seen.append(row))
    assert seen == [(k + 1, 12) for k in range(12)]

    def stop(done, total):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        hessian_of(formaldehyde, toy(), on_row=stop)


def test_wavenumbers_do_not_depend_on_where_the_molecule_is(formaldehyde):
    first = vibrations(formaldehyde)
    moved = formaldehyde.copy()
    moved.rotate(50, (1, -2, 3))
    moved.translate([3, 4, -5])
    order = [2, 0, 3, 1]
    moved = moved[order]
    second = vibrations(moved)
    np.testing.assert_allclose(second.wavenumbers, first.wavenumbers, rtol=0, atol=1e-5)
    np.testing.assert_allclose(second.reduced_masses, first.reduced_masses, rtol=1e-5)
    lengths = np.linalg.norm(first.displacements, axis=2)
    np.testing.assert_allclose(
        np.linalg.norm(second.displacements, axis=2), lengths[:, order], atol=1e-5
    )


def test_modes_are_orthonormal_and_without_rigid_motion(formaldehyde):
    found = vibrations(formaldehyde)
    masses = formaldehyde.get_masses()
    weighted = found.displacements * np.sqrt(masses)[:, None]
    weighted *= np.sqrt(1.0 / found.reduced_masses)[:, None, None]
    flat = weighted.reshape(6, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(6), atol=1e-10)
    drift = np.einsum("a,mac->mc", masses, found.displacements)
    np.testing.assert_allclose(drift, 0.0, atol=1e-10)
    arms = formaldehyde.positions - formaldehyde.get_center_of_mass()
    spin = np.einsum("a,mac->mc", masses, np.cross(arms, found.displacements))
    np.testing.assert_allclose(spin, 0.0, atol=1e-10)
    assert len(found.rigid_wavenumbers) == 6
    assert np.abs(found.rigid_wavenumbers).max() < 1.0


@pytest.mark.parametrize(
    ("name", "shape", "n_modes"),
    [("HCN", "linear", 4), ("CO2", "linear", 4), ("C2H2", "linear", 7), ("H2O", "nonlinear", 3),
     ("H2", "linear", 1), ("C", "atom", 0)],
)  # fmt: skip
def test_the_shape_decides_how_many_vibrations_there_are(name, shape, n_modes):
    atoms = Atoms("C") if name == "C" else molecule(name)
    atoms.rotate(33, (1, 1, 0))
    found = vibrations(atoms)
    assert found.shape == shape
    assert len(found.wavenumbers) == n_modes
    assert found.displacements.shape == (n_modes, len(atoms), 3)
    assert len(found.rigid_wavenumbers) + n_modes == 3 * len(atoms)


def test_bending_modes_of_a_linear_molecule_come_in_pairs():
    atoms = molecule("CO2")
    atoms.calc = toy()
    BFGS(atoms, logfile=None).run(fmax=1e-6, steps=300)
    atoms.rotate(40, (2, 1, 0))
    found = np.sort(np.abs(vibrations(atoms).wavenumbers))
    pairs = np.diff(found)
    assert pairs.min() < 1e-3


def test_a_saddle_point_has_an_imaginary_mode():
    # planar ammonia with springs that want a pyramid would do; here a linear chain under tension
    atoms = Atoms("OHO", [[0, 0, 0], [0, 0, 1.1], [0, 0, 2.2]])
    calculator = MorsePotential(epsilon=2.0, rho0=5.0, r0=1.4)
    found = vibrations(atoms, calculator)
    assert found.shape == "linear"
    assert found.n_imaginary == 2  # the bend, in both planes
    assert (np.diff(found.wavenumbers) >= 0).all()
    assert (found.wavenumbers[:2] < 0).all()
    assert (found.force_constants[:2] < 0).all()


def test_a_crystal_keeps_all_but_its_translations():
    atoms = bulk("Cu", cubic=True)
    found = vibrations(atoms, EMT())
    assert found.shape == "periodic"
    assert len(found.wavenumbers) == 9
    assert np.abs(found.rigid_wavenumbers).max() < 2.0
    assert found.wavenumbers[0] > 50


def test_fixed_atoms_do_not_take_part():
    atoms = Atoms("HO", [[0, 0, 0], [0.0, 1.1, 0.0]])
    calculator = MorsePotential(epsilon=2.0, rho0=5.0, r0=1.1)
    free = vibrations(atoms, calculator).wavenumbers[0]
    atoms.set_constraint(FixAtoms([1]))
    held = vibrations(atoms, calculator)
    assert held.shape == "held"
    assert len(held.wavenumbers) == 3
    first, second = atoms.get_masses()
    ratio = np.sqrt((first + second) / second)
    assert free / held.wavenumbers[-1] == pytest.approx(ratio, rel=1e-6)
    assert (held.displacements[:, 1] == 0).all()
    automatic = molecule("H2O")
    automatic.set_constraint(FixAtoms([0]))
    assert vibrations(automatic).displacements.shape == (6, 3, 3)


def test_isotopes_shift_wavenumbers():
    atoms = minimum("H2")
    light = vibrations(atoms).wavenumbers[0]
    atoms.set_masses([2.014, 2.014])
    assert light / vibrations(atoms).wavenumbers[0] == pytest.approx(
        np.sqrt(2.014 / 1.008), rel=1e-6
    )


def test_what_has_no_vibrations_is_refused():
    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    with pytest.raises(GeometryError, match="fixed"):
        vibrations(atoms)
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(ConfigError, match="FixBondLength"):
        vibrations(atoms)
    with pytest.raises(GeometryError, match="stationary"):
        check_stationary(0.02, 0.01, "")
    check_stationary(0.01, 0.01, "")


@pytest.mark.parametrize(
    ("name", "number"),
    [("H2O", 2), ("NH3", 3), ("CH4", 12), ("C6H6", 12), ("C2H4", 4), ("CO2", 2), ("HCN", 1),
     ("C2H6", 6), ("CH3CH2OH", 1), ("C3H6_D3h", 6), ("N2", 2), ("CO", 1), ("H2CO", 2),
     ("CH3Cl", 3), ("isobutane", 3), ("Ar", 1), ("CCl4", 12), ("trans-butane", 2), ("P2", 2)],
)  # fmt: skip
def test_symmetry_numbers_are_those_of_the_tables(name, number):
    atoms = Atoms("Ar") if name == "Ar" else molecule(name)
    atoms.rotate(77, (1, 2, 3))
    atoms.rattle(0.004, seed=1)
    assert symmetry_number(atoms) == number


def test_symmetry_of_an_octahedron_and_of_isotopes():
    places = np.vstack([np.zeros(3), 1.56 * np.eye(3), -1.56 * np.eye(3)])
    assert symmetry_number(Atoms("SF6", places)) == 24
    atoms = molecule("CH4")
    masses = atoms.get_masses()
    masses[1] = 2.014
    atoms.set_masses(masses)
    assert symmetry_number(atoms) == 3


@pytest.mark.parametrize(
    ("name", "wavenumbers", "shape", "entropy"),
    [
        # standard entropies at 298.15 K and 1 bar, J/mol/K, NIST-JANAF tables
        ("Ar", [], "atom", 154.85),
        ("N2", [2330.0], "linear", 191.61),
        ("CO2", [667.0, 667.0, 1333.0, 2349.0], "linear", 213.79),
        ("H2O", [1595.0, 3657.0, 3756.0], "nonlinear", 188.83),
        ("CH4", [1306.0] * 3 + [1534.0] * 2 + [2917.0] + [3019.0] * 3, "nonlinear", 186.25),
    ],
)
def test_entropies_are_those_of_the_tables(name, wavenumbers, shape, entropy):
    atoms = Atoms("Ar") if name == "Ar" else molecule(name)
    if name == "N2":
        atoms.set_distance(0, 1, 1.0977)
    found = thermochemistry(atoms, -5.0, np.array(wavenumbers), shape, pressure=1.0)
    assert found.entropy * JOULES == pytest.approx(entropy, abs=0.25)
    assert found.free_energy == pytest.approx(found.enthalpy - 298.15 * found.entropy)
    assert found.enthalpy - found.internal_energy == pytest.approx(units.kB * 298.15)
    half = 0.5 * units.invcm * sum(wavenumbers)
    least = {"atom": 2.5, "linear": 3.5, "nonlinear": 4.0}[shape] * units.kB * 298.15
    assert found.enthalpy + 5.0 - half >= least - 1e-12


def test_multiplicity_symmetry_and_pressure_change_the_entropy_as_they_must():
    atoms, modes = Atoms("O2", [[0, 0, 0], [1.2075, 0, 0]]), np.array([1580.0])
    triplet = thermochemistry(atoms, 0.0, modes, "linear", pressure=1.0, multiplicity=3)
    assert triplet.entropy * JOULES == pytest.approx(205.15, abs=0.25)
    options = {"pressure": 1.0, "multiplicity": 1}
    singlet = thermochemistry(atoms, 0.0, modes, "linear", **options)
    assert triplet.entropy - singlet.entropy == pytest.approx(units.kB * np.log(3))
    told = thermochemistry(atoms, 0.0, modes, "linear", symmetry=1, **options)
    assert told.entropy - singlet.entropy == pytest.approx(units.kB * np.log(2))
    thin = thermochemistry(atoms, 0.0, modes, "linear", pressure=0.1, multiplicity=1)
    assert thin.entropy - singlet.entropy == pytest.approx(units.kB * np.log(10))


def test_the_imaginary_mode_of_a_transition_state_is_left_out():
    atoms = molecule("H2O")
    found = thermochemistry(atoms, 0.0, np.array([-500.0, 3000.0, 3100.0]), "nonlinear")
    by_hand = IdealGasThermo.get_enthalpy(
        IdealGasThermo(np.array([3000.0, 3100.0]) * units.invcm, "nonlinear", natoms=None,
                       vib_selection="all"),
        298.15, verbose=False,
    )  # fmt: skip
    assert found.enthalpy == pytest.approx(by_hand)


def test_a_solid_has_vibrations_only():
    found = thermochemistry(bulk("Cu"), -1.0, np.array([200.0, 30.0]), "periodic", temperature=1.0)
    assert found.kind == "harmonic"
    assert np.isnan(found.pressure)
    assert found.soft_modes == 1
    assert found.free_energy == pytest.approx(-1.0 + 115.0 * units.invcm, abs=1e-7)
    assert "pressure" not in found.as_json()


@pytest.mark.fault
def test_the_one_atom_of_a_primitive_cell_has_no_vibrations():
    """An AttributeError of ASE ended `tlpot frequencies` of a primitive cell."""
    found = thermochemistry(bulk("Cu"), -1.0, np.zeros(0), "periodic", temperature=300.0)
    assert (found.internal_energy, found.entropy, found.free_energy) == (-1.0, 0.0, -1.0)


@pytest.mark.parametrize(
    "options", [{"temperature": 0.0}, {"pressure": -1.0}, {"symmetry": 0}, {"temperature": np.nan}]
)
def test_conditions_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        thermochemistry(molecule("H2O"), 0.0, np.ones(3), "nonlinear", **options)


def test_files_of_modes_hold_them(formaldehyde, tmp_path):
    from ase.io import read

    found = vibrations(formaldehyde)
    write_modes(formaldehyde, found, tmp_path / "m.xyz")
    frames = read(tmp_path / "m.xyz", index=":")
    assert [f.info["wavenumber"] for f in frames] == pytest.approx(found.wavenumbers.tolist())
    for frame, displacement in zip(frames, found.displacements, strict=True):
        np.testing.assert_allclose(frame.arrays["mode"], displacement, atol=1e-7)
    write_molden(formaldehyde, found, tmp_path / "m.molden")
    lines = (tmp_path / "m.molden").read_text().splitlines()
    start = lines.index("[FREQ]")
    numbers = [float(line) for line in lines[start + 1 : start + 7]]
    np.testing.assert_allclose(numbers, found.wavenumbers, atol=1e-3)
    coordinates = lines[lines.index("[FR-COORD]") + 1].split()
    assert coordinates[0] == formaldehyde.symbols[0]
    np.testing.assert_allclose(
        np.array(coordinates[1:], float) * units.Bohr, formaldehyde.positions[0], atol=1e-6
    )
    assert sum(line.startswith("vibration") for line in lines) == 6
