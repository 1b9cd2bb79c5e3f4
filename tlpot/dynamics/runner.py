"""The runner of molecular dynamics: ASE's integrators step by step, with hooks that look on.

Beside it are the velocities that runs start from, and the temperature.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units

from tlpot.dynamics.settings import MDSettings
from tlpot.errors import ConfigError, GeometryError, SimulationError
from tlpot.numbers import Floats, result_fault

if TYPE_CHECKING:
    from ase.md.md import MolecularDynamics

_LINEAR = 1e-3
"""The least moment of inertia of a linear molecule, as a part of its largest, is below that."""
_ASIDE = 0.2
"""Å, that its atoms may be off the axis; molecules far from each other have such moments, too."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of the log; energies with what constraints such as springs add.

    Attributes:
        step: steps since the start.
        time: fs.
        total: potential and kinetic energy, and that of restraints such as Hookean springs, eV.
        potential: of the calculator alone, eV.
        temperature: K.
        volume: of the cell, Å³; NaN where the run has no barostat, as the next two.
        density: g/cm³.
        pressure: of this moment, kinetic part included, bar.
        energy_std: standard deviation that the model states, eV; NaN if it states none.
    """

    step: int
    time: float
    total: float
    potential: float
    temperature: float
    volume: float = math.nan
    density: float = math.nan
    pressure: float = math.nan
    energy_std: float = math.nan


class MDRunner:
    """Molecular dynamics of some atoms, in as many goes as wanted.

    Hooks are called in their order, where a go begins and after each of its steps. The first text
    that one of them returns ends the run there; hooks after it find it in `ended`.

    Args:
        atoms: with a calculator and velocities; they move.
        settings: of the integrator and the log; their length and seed do not count here.
        rng: of the thermostat's noise.
        rigid: `rigid_motions` of the structure as it was at the start.
        step: number of the step to go on from.
        time: at that step, fs.

    Attributes:
        step: steps since the start, those before `step` included.
        first: the step that it went on from.
        temperature: after the step, K; for hooks only.
        ended: why a hook ended the run, in words; empty if none did.

    Raises:
        GeometryError: constant pressure was asked for without a fully periodic cell.
        ConfigError: the calculator has no stress, the installed ASE lacks the barostat, or it
            cannot hold the constraints.
    """

    def __init__(
        self,
        atoms: Atoms,
        settings: MDSettings,
        rng: np.random.Generator,
        *,
        rigid: tuple[int, int] = (0, 0),
        step: int = 0,
        time: float = 0.0,
    ) -> None:
        self.atoms, self.settings = atoms, settings
        self.step = self.first = self._end = step
        self.ended, self.temperature = "", math.nan
        self._first_time, self._seconds = time, 0.0
        self._dynamics = _integrator(atoms, settings, rng)
        self._n_degrees = degrees_of_freedom(atoms, rigid)

    def advance(self, n_steps: int, hooks: Sequence[Hook] = ()) -> str:
        """Makes steps, and returns why hooks ended the run before that; empty if they did not.

        What calculator and hooks raise passes; `step` is then the step that failed.
        """
        begun, started = self.step, time.perf_counter()
        self._end = begun + n_steps
        steps = self._dynamics.irun(n_steps)
        try:
            for step in range(begun, self._end + 1):
                self.step = step
                next(steps)  # the first one evaluates the start
                if hooks:
                    self.temperature = temperature(self.atoms, self._n_degrees)
                for hook in hooks:
                    why = hook(self)
                    self.ended = self.ended or why or ""
                if self.ended:
                    break
        finally:
            self._seconds += time.perf_counter() - started
        return self.ended

    @property
    def time(self) -> float:
        """Simulated time, fs."""
        return self._first_time + (self.step - self.first) * self.settings.timestep

    @property
    def seconds_per_step(self) -> float:
        """By the clock, hooks included."""
        return self._seconds / max(self.step - self.first, 1)

    @property
    def logs(self) -> bool:
        """Whether the step belongs into a log: each so many, where it begins, and the last."""
        every = self.step % self.settings.log_every == 0
        return every or self.step in (self.first, self._end) or bool(self.ended)

    def sample(self, extras: Sequence[str] = ()) -> Sample:
        """Returns a row of a log, for hooks; `extras` are fields beyond those of every run."""
        atoms = self.atoms
        # that of a restraint is no energy of the model, but the total is constant only with it
        potential = float(atoms.get_potential_energy(apply_constraint=False))
        total = float(atoms.get_potential_energy()) + float(atoms.get_kinetic_energy())
        found: dict[str, float] = {}
        if "volume" in extras:
            found["volume"] = float(atoms.get_volume())
        if "density" in extras:
            grams = float(atoms.get_masses().sum()) * units._amu * 1e3
            found["density"] = grams / (float(atoms.get_volume()) * 1e-24)
        if "pressure" in extras:
            stress = atoms.get_stress(include_ideal_gas=True)
            found["pressure"] = -float(stress[:3].mean()) / units.bar
        if "energy_std" in extras:
            found["energy_std"] = float(atoms.calc.get_property("energy_std", atoms))
        return Sample(self.step, self.time, total, potential, self.temperature, **found)


Hook = Callable[[MDRunner], str | None]
"""Looks at a run after a step; a text that it returns ends the run."""


def check_results(atoms: Atoms, when: str = "") -> float:
    """Checks that a calculator gives a number, and a finite force for each atom.

    Args:
        atoms: with a calculator.
        when: for the message, such as `` at step 3``.

    Returns:
        The energy, eV, what constraints add to it included.

    Raises:
        SimulationError: something of another shape, NaN or infinity.
    """
    found = {
        "energy": atoms.get_potential_energy(apply_constraint=False),
        "forces": atoms.get_forces(apply_constraint=False),
    }
    if (fault := result_fault(found, len(atoms))) is not None:
        raise SimulationError(
            f"the calculator {type(atoms.calc).__name__} gives {fault}{when}; look at the "
            "structure (overlapping atoms?) and at what the calculator says of it"
        )
    return float(np.asarray(atoms.get_potential_energy()).item())


def check_finite(run: MDRunner) -> None:
    """Hook: checks that energy and positions are numbers.

    Raises:
        GeometryError: they are not.
    """
    atoms = run.atoms
    total = float(atoms.get_potential_energy()) + float(atoms.get_kinetic_energy())
    if not (np.isfinite(total) and np.isfinite(atoms.positions).all()):
        raise GeometryError("energy or positions are not finite")


def energy_drift(samples: Sequence[Sample], n_atoms: int) -> float:
    """Returns the slope of a straight line through the total energy of a log, meV/atom/ps.

    It is NaN with fewer than three samples.
    """
    picoseconds = np.array([s.time for s in samples]) * 1e-3
    return drift_of(picoseconds, np.array([s.total for s in samples]), n_atoms)


def drift_of(picoseconds: Floats, total: Floats, n_atoms: int) -> float:
    """Returns the same from times, [n_samples], ps, and energies, [n_samples], eV."""
    if len(total) < 3:
        return float("nan")
    slope = np.polyfit(picoseconds - picoseconds.mean(), total - total.mean(), 1)[0]
    return float(1e3 * slope / n_atoms)


def check_mobile(atoms: Atoms, remedy: str) -> None:
    """Checks that something can move, without which there is no temperature and no relaxation.

    Raises:
        GeometryError: constraints hold everything.
    """
    if int(atoms.get_number_of_degrees_of_freedom()) < 1:
        held = ", ".join(sorted({type(c).__name__ for c in atoms.constraints}))
        raise GeometryError(
            f"constraints ({held}) hold all {len(atoms)} atoms, so nothing can move; {remedy}"
        )


def rigid_motions(atoms: Atoms, settings: MDSettings) -> tuple[int, int]:
    """Returns the numbers of translations and rotations that are constants of the motion."""
    if settings.ensemble != "nve" or atoms.constraints or len(atoms) < 2:
        return 0, 0
    if atoms.pbc.any():
        return 3, 0
    return 3, 2 if is_linear(atoms) else 3


def is_linear(atoms: Atoms) -> bool:
    """Tells linear molecules by their moments of inertia; an atom alone is not asked about."""
    arms = atoms.positions - atoms.get_center_of_mass()
    moments, axes = np.linalg.eigh(_inertia(atoms.get_masses(), arms))
    if moments[0] >= _LINEAR * moments[-1]:
        return False
    aside = np.cross(arms, axes[:, 0])
    return bool(np.linalg.norm(aside, axis=1).max() < _ASIDE)


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


def _inertia(masses: Floats, arms: Floats) -> Floats:
    """The tensor of inertia; ASE's own warns of structures that are periodic."""
    weighted = masses[:, None] * arms
    tensor: Floats = np.eye(3) * (weighted * arms).sum() - weighted.T @ arms
    return tensor


def _rigid_parts(atoms: Atoms) -> tuple[Floats, Floats]:
    """The momenta, [n_atoms, 3] each, that belong to overall translation and rotation."""
    masses = atoms.get_masses()[:, None]
    momenta = atoms.get_momenta()
    arms = atoms.positions - atoms.get_center_of_mass()
    inertia = _inertia(masses[:, 0], arms)
    # ASE's own ZeroRotation divides by the vanishing moment of a linear molecule
    least = _LINEAR if is_linear(atoms) else 1e-12
    inverse = np.linalg.pinv(inertia, rcond=least, hermitian=True)
    spin = inverse @ np.cross(arms, momenta).sum(axis=0)
    return masses * momenta.sum(axis=0) / masses.sum(), masses * np.cross(spin, arms)


def _integrator(atoms: Atoms, settings: MDSettings, rng: np.random.Generator) -> MolecularDynamics:
    """ASE's integrator, which moves `atoms`."""
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
