"""ASE's integrators for our settings, the velocities they start from, and the temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from tlpot.dynamics.settings import MDSettings
from tlpot.errors import ConfigError, GeometryError

if TYPE_CHECKING:
    from ase.md.md import MolecularDynamics

_LINEAR = 1e-3
"""A molecule whose least moment of inertia is this much smaller than its largest is linear."""


def make_dynamics(
    atoms: Atoms, settings: MDSettings, rng: np.random.Generator
) -> MolecularDynamics:
    """Returns the integrator; it moves `atoms`.

    Raises:
        GeometryError: constant pressure was asked for without a fully periodic cell.
        ConfigError: the calculator has no stress, the installed ASE lacks the barostat, or it
            cannot hold the constraints.
    """
    from ase.md.langevin import Langevin
    from ase.md.verlet import VelocityVerlet

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
    known = getattr(atoms.calc, "implemented_properties", ("stress",))
    if "stress" not in known:
        raise ConfigError(
            "npt needs stress, which the calculator does not give (an engine or a calculator of "
            "the whole structure without it takes part); use nve or langevin, or another model"
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
        tdamp=settings.thermostat_time * units.fs,
        pdamp=settings.barostat_time * units.fs,
    )


def check_mobile(atoms: Atoms) -> None:
    """Checks that something can move, without which there is no temperature.

    Raises:
        GeometryError: constraints hold everything.
    """
    if int(atoms.get_number_of_degrees_of_freedom()) < 1:
        held = ", ".join(sorted({type(c).__name__ for c in atoms.constraints}))
        raise GeometryError(
            f"constraints ({held}) hold all {len(atoms)} atoms, so nothing can move; remove some, "
            "or take single points instead of dynamics"
        )


def rigid_motions(atoms: Atoms, settings: MDSettings) -> tuple[int, int]:
    """Returns the numbers of translations and rotations that are constants of the motion."""
    if settings.ensemble != "nve" or atoms.constraints or len(atoms) < 2:
        return 0, 0
    if atoms.pbc.any():
        return 3, 0
    moments = atoms.get_moments_of_inertia()
    return 3, 2 if moments[0] < _LINEAR * moments[-1] else 3


def draw_velocities(
    atoms: Atoms, settings: MDSettings, rigid: tuple[int, int], rng: np.random.Generator
) -> None:
    """Gives `atoms` Maxwell–Boltzmann velocities, and none to its `rigid_motions`."""
    widths = np.sqrt(atoms.get_masses() * units.kB * settings.temperature)
    momenta = widths[:, None] * rng.standard_normal((len(atoms), 3))
    atoms.set_momenta(momenta)
    if any(rigid):
        translation, rotation = _rigid_parts(atoms)
        atoms.set_momenta(momenta - translation - (rotation if rigid[1] else 0.0))


def scale_velocities(atoms: Atoms, settings: MDSettings, rigid: tuple[int, int]) -> None:
    """Scales velocities so that the kinetic temperature is exactly the one asked for."""
    kelvin = temperature(atoms, degrees_of_freedom(atoms, rigid))
    atoms.set_momenta(atoms.get_momenta() * np.sqrt(settings.temperature / kelvin))


def degrees_of_freedom(atoms: Atoms, rigid: tuple[int, int]) -> int:
    """Returns the number of momenta that share the kinetic energy, ½ k T each.

    3 n_atoms less the constraints, and less those `rigid_motions` that are at rest and stay so.
    """
    count = int(atoms.get_number_of_degrees_of_freedom())
    if any(rigid):
        total = np.linalg.norm(atoms.get_momenta())
        for part, n_motions in zip(_rigid_parts(atoms), rigid, strict=True):
            if np.linalg.norm(part) <= 1e-4 * total:
                count -= n_motions
    return count


def temperature(atoms: Atoms, n_degrees: int) -> float:
    """Returns the kinetic temperature in K."""
    return float(2.0 * atoms.get_kinetic_energy() / (n_degrees * units.kB))


def _rigid_parts(atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The momenta, [n_atoms, 3] each, that belong to overall translation and rotation."""
    masses = atoms.get_masses()[:, None]
    momenta = atoms.get_momenta()
    arms = atoms.positions - atoms.get_center_of_mass()
    inertia = np.eye(3) * (masses * arms**2).sum() - (masses * arms).T @ arms
    # ASE's own ZeroRotation divides by the vanishing moment of a linear molecule
    inverse = np.linalg.pinv(inertia, rcond=_LINEAR, hermitian=True)
    spin = inverse @ np.cross(arms, momenta).sum(axis=0)
    return masses * momenta.sum(axis=0) / masses.sum(), masses * np.cross(spin, arms)
