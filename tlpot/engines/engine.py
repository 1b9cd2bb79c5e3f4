"""What labels a geometry: one interface for every program, and a description that travels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TextIO

from tlpot.data import Labels
from tlpot.errors import ConfigError, TLPotError, nearest
from tlpot.system import System

ForceChoice = Literal["auto", "no", "analytic", "numerical"]
FORCE_CHOICES: tuple[ForceChoice, ...] = ("auto", "no", "analytic", "numerical")


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


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSpec:
    """An engine as plain data, from which every worker makes its own.

    Attributes:
        name: such as ``gfn2-xtb`` or ``pyscf:wb97x/6-31g*``.
        settings: of the engine; what is left out has its default.
        level: a name for the level of theory, where the engine's own will not do.
        forces: ``auto`` for analytic ones where they exist, ``no``, ``analytic`` to insist, or
            ``numerical`` for central differences of energies (6 n_atoms of them).
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    level: str | None = None
    forces: ForceChoice = "auto"

    def __post_init__(self) -> None:
        if self.forces not in FORCE_CHOICES:
            raise ConfigError(f"forces is {self.forces!r}{nearest(self.forces, FORCE_CHOICES)}")

    def as_text(self) -> str:
        """Returns a text that is equal for equal engines."""
        return json.dumps([self.name, dict(self.settings), self.level, self.forces], sort_keys=True)


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
