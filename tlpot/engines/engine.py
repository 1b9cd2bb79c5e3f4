"""What computes energies of structures: one interface for every program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TextIO

from tlpot.data import Labels
from tlpot.errors import TLPotError
from tlpot.system import System


class LabelError(TLPotError, RuntimeError):
    """One geometry that could not be labelled; others may."""


class Engine(Protocol):
    """A level of theory that can be computed here."""

    @property
    def level(self) -> str:
        """Canonical name of the level of theory."""
        ...

    @property
    def definition(self) -> Mapping[str, Any]:
        """Everything that changes the numbers, as plain JSON: program, version, settings."""
        ...

    @property
    def has_forces(self) -> bool:
        """Whether analytic forces exist."""
        ...

    def check(self, elements: Sequence[int], *, periodic: bool) -> None:
        """Checks, before anything is computed, that such structures can be labelled at all.

        Args:
            elements: atomic numbers that occur.
            periodic: whether a structure is periodic.

        Raises:
            ConfigError: no basis set or parameters for an element, or no periodic version.
        """
        ...

    def compute(self, system: System, *, forces: bool, log: TextIO) -> Labels:
        """Computes the labels of one structure, in eV and Å.

        Args:
            system: geometry, charge and multiplicity.
            forces: whether to compute forces.
            log: takes what the program prints.

        Raises:
            LabelError: no convergence, or this structure cannot be done.
        """
        ...

    def use_threads(self, n: int | None) -> int:
        """Sets the number of threads, None for leaving it, and returns what is in use."""
        ...


def has_possible_spin(system: System) -> bool:
    """Whether the electrons can have the multiplicity."""
    electrons = int(system.atomic_numbers.sum()) - system.charge
    return 0 <= system.spin - 1 <= electrons and (electrons - (system.spin - 1)) % 2 == 0


def check_electrons(system: System) -> None:
    """Checks that charge and multiplicity fit the number of electrons.

    Raises:
        LabelError: they do not.
    """
    if not has_possible_spin(system):
        electrons = int(system.atomic_numbers.sum()) - system.charge
        raise LabelError(
            f"{electrons} electrons (charge {system.charge:+d}) cannot have multiplicity "
            f"{system.spin}; set charge and spin of the structure"
        )
