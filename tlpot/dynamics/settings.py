"""What a molecular-dynamics run is asked to do, and what ends it early: ``domain<0.05``, say."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from ase.calculators.calculator import Calculator

from tlpot.config import check_least, check_seed
from tlpot.errors import ConfigError, nearest

if TYPE_CHECKING:
    from tlpot.dynamics.runner import MDRunner

Ensemble = Literal["nve", "langevin", "nvt", "npt"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MDSettings:
    """Settings of a run; impossible values raise a `ConfigError`.

    Attributes:
        ensemble: ``nve`` (velocity Verlet), ``langevin`` (constant temperature, also called
            ``nvt``) or ``npt`` (constant temperature and isotropic pressure,
            Martyna-Tobias-Klein).
        temperature: of the thermostat and of the velocities drawn at the start, K.
        timestep: fs.
        steps: length of the run, what a resumed run has behind it included.
        friction: of ``langevin``, 1/ps.
        pressure: of ``npt``, bar.
        thermostat_time: period of the Nosé-Hoover chains of ``npt``, fs.
        barostat_time: period of the barostat of ``npt``, fs.
        seed: of the velocities and of the thermostat's noise.
        log_every: steps between two frames of the trajectory and rows of the log.
    """

    ensemble: Ensemble = "langevin"
    temperature: float = 300.0
    timestep: float = 0.5
    steps: int = 2000
    friction: float = 10.0
    pressure: float = 1.0
    thermostat_time: float = 100.0
    barostat_time: float = 1000.0
    seed: int = 0
    log_every: int = 10

    def __post_init__(self) -> None:
        ensembles = get_args(Ensemble)
        if self.ensemble not in ensembles:
            raise ConfigError(
                f"unknown ensemble {self.ensemble!r}{nearest(self.ensemble, ensembles)}"
            )
        if self.ensemble == "nvt":
            object.__setattr__(self, "ensemble", "langevin")
        check_least(self, temperature=0, timestep=1e-6, steps=1, friction=0, log_every=1)
        check_least(self, thermostat_time=self.timestep, barostat_time=self.timestep)
        if not math.isfinite(self.pressure):
            raise ConfigError(f"pressure is {self.pressure}, expected a number in bar")
        check_seed(self.seed)


_OF_RESULTS = ("domain", "energy_std", "forces_std")
_GRAMMAR = re.compile(r"\s*(?P<name>[A-Za-z_]+)\s*(?P<sign>[<>])\s*(?P<number>[^\s<>=]+)\s*")
STOP_NAMES = (*_OF_RESULTS, "temperature", "potential")
"""What a condition may be about: results of the calculator, K and eV; of forces_std the largest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StopCondition:
    """A quantity and the bound at which a run ends.

    Attributes:
        name: one of `STOP_NAMES`.
        above: whether the run ends above the bound, and not below it.
        bound: in eV, eV/Å or K.
    """

    name: str
    above: bool
    bound: float

    def check(self, calculator: Calculator) -> None:
        """Makes sure that a calculator gives the quantity; it has evaluated the structure.

        Raises:
            ConfigError: it does not.
        """
        known = getattr(calculator, "implemented_properties", ())
        if self.name in _OF_RESULTS and self.name not in {*known, *calculator.results}:
            remedy = (
                "train or fine-tune it with this tlpot, which tells it"
                if self.name == "domain"
                else "see 'tlpot ensemble' and 'tlpot calibrate'"
            )
            raise ConfigError(
                f"cannot stop when {self}: the calculator gives no {self.name}, because its model "
                f"does not know it; {remedy}"
            )

    def __call__(self, run: MDRunner) -> str:
        """Returns why the run ends, in words, or an empty text: it is a hook of `MDRunner`."""
        value = self._value(run)
        if not (value > self.bound if self.above else value < self.bound):
            return ""
        return f"{self.name} is {value:.4g}, {'above' if self.above else 'below'} {self.bound:g}"

    def _value(self, run: MDRunner) -> float:
        atoms = run.atoms
        if self.name == "temperature":
            return run.temperature
        # that of the log, without restraints; nothing is evaluated twice
        energy = float(atoms.get_potential_energy(apply_constraint=False))
        if self.name == "potential":
            return energy
        results = atoms.calc.results
        if self.name not in results:
            return float(np.max(atoms.calc.get_property(self.name, atoms)))
        return float(np.max(results[self.name]))

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.name} {'>' if self.above else '<'} {self.bound:g}"


def stop_conditions(texts: Sequence[str]) -> tuple[StopCondition, ...]:
    """Reads conditions such as ``domain<0.05``, any of which ends a run.

    Raises:
        ConfigError: not NAME < NUMBER or NAME > NUMBER, or no such name.
    """
    return tuple(map(_condition, texts))


def _condition(text: str) -> StopCondition:
    found = _GRAMMAR.fullmatch(text)
    try:
        bound = float(found["number"]) if found else math.nan
    except ValueError:
        bound = math.nan
    if found is None or not math.isfinite(bound):
        raise ConfigError(
            f"stop_when is {text!r}, expected NAME<NUMBER or NAME>NUMBER such as 'domain<0.05', in "
            f"quotes on a command line; names are {', '.join(STOP_NAMES)}"
        )
    if found["name"] not in STOP_NAMES:
        raise ConfigError(f"stop_when: no {found['name']!r}{nearest(found['name'], STOP_NAMES)}")
    return StopCondition(name=found["name"], above=found["sign"] == ">", bound=bound)
