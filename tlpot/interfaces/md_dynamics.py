"""ASE's integrators for our settings, the velocities they start from, and the temperature."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from tlpot.errors import ConfigError, GeometryError
from tlpot.interfaces.md_settings import MDSettings

_THERMOSTAT_TIME = 100.0 * units.fs
_BAROSTAT_TIME = 1000.0 * units.fs
_LINEAR = 1e-3
"""A molecule whose least moment of inertia is this much smaller than its largest is linear."""


def make_dynamics(
    atoms: Atoms, settings: MDSettings, rng: np.random.Generator
) -> MolecularDynamics:
    """Returns the integrator; it moves `atoms`.

    Raises:
        GeometryError: constant pressure was asked for without a fully periodic cell.
        ConfigError: the installed ASE lacks the barostat, or it cannot hold the constraints.
    """
    timestep = settings.timestep * units.fs
    if settings.ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    if settings.ensemble == "langevin":
        # ASE's way to hold the centre of mass does not sample the ensemble; let it diffuse
        return Langevin(
            atoms,
            timestep,
            temperature_K=settings.temperature,
            friction=settings.friction * 1e-3 / units.fs,
            fixcm=False,
            rng=rng,
        )
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise GeometryError(
            f"npt needs a cell that is periodic in all three directions; pbc is "
            f"{atoms.pbc.tolist()}, cell {atoms.cell.array.tolist()}. Use nve or langevin"
        )
    if atoms.constraints:
        raise ConfigError("npt cannot hold constraints; remove them, or use nve or langevin")
    try:
        from ase.md.nose_hoover_chain import IsotropicMTKNPT
    except ImportError as error:
        raise ConfigError("npt needs ASE 3.25 or newer; update ase, or use langevin") from error
    return IsotropicMTKNPT(
        atoms,
        timestep,
        temperature_K=settings.temperature,
        pressure_au=settings.pressure * units.bar,
        tdamp=_THERMOSTAT_TIME,
        pdamp=_BAROSTAT_TIME,
    )


def draw_velocities(atoms: Atoms, settings: MDSettings, rng: np.random.Generator) -> None:
    """Gives `atoms` Maxwell–Boltzmann velocities without what the dynamics conserves at zero."""
    widths = np.sqrt(atoms.get_masses() * units.kB * settings.temperature)
    atoms.set_momenta(widths[:, None] * rng.standard_normal((len(atoms), 3)))
    translation, rotation = _conserved(atoms, settings)
    if translation:
        masses = atoms.get_masses()[:, None]
        atoms.set_momenta(
            atoms.get_momenta() - masses * atoms.get_momenta().sum(axis=0) / masses.sum()
        )
    if rotation:
        _stop_rotation(atoms)


def degrees_of_freedom(atoms: Atoms, settings: MDSettings) -> int:
    """Returns the number of momenta that share the kinetic energy, ½ k T each.

    3 n_atoms less the constraints, and in ``nve`` less the overall translation and, for a
    molecule, rotation, which `draw_velocities` has set to rest for good.
    """
    translation, rotation = _conserved(atoms, settings)
    return int(atoms.get_number_of_degrees_of_freedom()) - translation - rotation


def temperature(atoms: Atoms, n_degrees: int) -> float:
    """Returns the kinetic temperature in K."""
    return float(2.0 * atoms.get_kinetic_energy() / (n_degrees * units.kB))


def _stop_rotation(atoms: Atoms) -> None:
    masses = atoms.get_masses()
    arms = atoms.positions - atoms.get_center_of_mass()
    squares = np.einsum("ij,ij->i", arms, arms)
    inertia = np.eye(3) * (masses @ squares) - np.einsum("i,ij,ik->jk", masses, arms, arms)
    # ASE's own ZeroRotation divides by the vanishing moment of a linear molecule
    inverse = np.linalg.pinv(inertia, rcond=_LINEAR, hermitian=True)
    spin = inverse @ np.cross(arms, atoms.get_momenta()).sum(axis=0)
    atoms.set_momenta(atoms.get_momenta() - masses[:, None] * np.cross(spin, arms))


def _conserved(atoms: Atoms, settings: MDSettings) -> tuple[int, int]:
    """Numbers of translations and rotations that are constants of the motion."""
    if settings.ensemble != "nve" or atoms.constraints or len(atoms) < 2:
        return 0, 0
    if atoms.pbc.any():
        return 3, 0
    moments = atoms.get_moments_of_inertia()
    return 3, 2 if moments[0] < _LINEAR * moments[-1] else 3
