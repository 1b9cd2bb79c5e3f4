"""Conditions that end a molecular-dynamics run early: ``domain<0.05``, ``energy_std > 0.2``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from tlpot.errors import ConfigError, nearest

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

    def met(self, atoms: Atoms, kelvin: float) -> str:
        """Returns why the run ends, in words, or an empty text.

        Args:
            atoms: with a calculator.
            kelvin: kinetic temperature.
        """
        value = self._value(atoms, kelvin)
        if not (value > self.bound if self.above else value < self.bound):
            return ""
        return f"{self.name} is {value:.4g}, {'above' if self.above else 'below'} {self.bound:g}"

    def _value(self, atoms: Atoms, kelvin: float) -> float:
        if self.name == "temperature":
            return kelvin
        energy = float(atoms.get_potential_energy())  # nothing is evaluated twice
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
            f"quotes on a command line; names are {', '.join(STOP_NAMES)}",
        )
    if found["name"] not in STOP_NAMES:
        raise ConfigError(f"stop_when: no {found['name']!r}{nearest(found['name'], STOP_NAMES)}")
    return StopCondition(name=found["name"], above=found["sign"] == ">", bound=bound)
