"""The runner of molecular dynamics: ASE's integrators step by step, with hooks that look on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from tlpot.dynamics.integrators import degrees_of_freedom, make_dynamics, temperature
from tlpot.dynamics.settings import MDSettings
from tlpot.errors import GeometryError


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
        GeometryError, ConfigError: see `make_dynamics`.
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
        self._dynamics = make_dynamics(atoms, settings, rng)
        self._n_degrees = degrees_of_freedom(atoms, rigid)

    def advance(self, n_steps: int, hooks: Sequence[Hook] = ()) -> str:
        """Makes steps, and returns why hooks ended the run before that; empty if they did not.

        What calculator and hooks raise passes; `step` is then the step that failed.

        Args:
            n_steps: how many.
            hooks: see above.
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
        """Returns a row of a log, for hooks.

        Args:
            extras: fields of `Sample` beyond those of every run.
        """
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
    """Returns the slope of a straight line through the total energy, meV/atom/ps.

    Args:
        samples: rows of a log.
        n_atoms: number of atoms.

    Returns:
        NaN with fewer than three samples.
    """
    picoseconds = np.array([s.time for s in samples]) * 1e-3
    return drift_of(picoseconds, np.array([s.total for s in samples]), n_atoms)


def drift_of(picoseconds: NDArray[np.float64], total: NDArray[np.float64], n_atoms: int) -> float:
    """Returns the same from times, [n_samples], ps, and energies, [n_samples], eV."""
    if len(total) < 3:
        return float("nan")
    slope = np.polyfit(picoseconds - picoseconds.mean(), total - total.mean(), 1)[0]
    return float(1e3 * slope / n_atoms)
