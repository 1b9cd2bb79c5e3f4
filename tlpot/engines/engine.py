"""What computes energies of structures: one interface for every program, and two made of others."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TextIO, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tlpot.data import Labels
from tlpot.engines.core_potential import only_heavy
from tlpot.errors import ConfigError, TLPotError
from tlpot.levels import canonical_level
from tlpot.system import System
from tlpot.total_charge import impossible_spin


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


@runtime_checkable
class Describing(Protocol):
    """An engine with features of atoms, on which regressors can be fitted."""

    def descriptors(self, system: System, log: TextIO) -> NDArray[np.float64]:
        """Returns the features of the atoms, [n_atoms, n_features].

        Raises:
            LabelError: there are none, or this structure cannot be done.
        """
        ...


class Deviating(Engine, Protocol):
    """An engine of several networks, which knows how far they differ.

    Others have no attribute ``deviations``, or an empty one.
    """

    @property
    def deviations(self) -> tuple[str, ...]:
        """Which of ``energy_std`` and ``forces_std`` it knows."""
        ...

    def compute_with_deviations(
        self, system: System, *, forces: bool, log: TextIO
    ) -> tuple[Labels, dict[str, NDArray[np.float64]]]:
        """Computes labels, see `Engine.compute`, and with them the standard deviations.

        Returns:
            The labels, and by name ``energy_std``, eV, and ``forces_std``, [n_atoms, 3], eV/Å,
            over the networks with ddof = 1.

        Raises:
            LabelError: see `Engine.compute`.
        """
        ...


@runtime_checkable
class BatchEngine(Protocol):
    """An engine that may be able to compute several structures at once, which takes less time."""

    @property
    def takes_batches(self) -> bool:
        """Whether it is."""
        ...

    def compute_batch(
        self, systems: Sequence[System], *, forces: bool, log: TextIO
    ) -> list[Labels]:
        """Computes molecules that have one number of atoms, without cells.

        Raises:
            LabelError: one of them cannot be done, which the others may be.
            ConfigError: it turns out not to tell the structures of a batch apart.
        """
        ...


def gives_stress(engine: Engine, system: System) -> bool:
    """Whether an engine has the stress of a structure: with what is not a crystal there is none.

    Such an engine has an attribute ``has_stress`` that is true, and its ``compute`` takes
    ``stress=True``.
    """
    return bool(getattr(engine, "has_stress", False) and system.pbc.all())


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
        raise LabelError(impossible_spin(electrons, system.charge, system.spin))


_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{12,}\b")


def definition_differences(known: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Returns in words what differs between the definition of some energies and an engine's.

    Each entry that differs stands for itself, as ``section.key``, and hashes are shortened. How
    forces are had, where only one side says it, and core potentials of elements that there were
    none of make no other energies.

    Args:
        known: how the energies were computed, as a file has it.
        given: `Engine.definition`.
    """
    here = json.loads(json.dumps(dict(given)))  # tuples become lists
    words = []
    for name in sorted(known.keys() | here.keys()):
        one_sided = name not in known or name not in here
        same_energies = (name == "forces" and one_sided) or (
            name not in known and only_heavy(name, here)
        )
        if not same_energies:
            words += _differing(name, known.get(name, _ABSENT), here.get(name, _ABSENT))
    return words


_ABSENT = object()


def _differing(name: str, there: Any, now: Any) -> list[str]:
    """Returns in words what differs in an entry, level by level."""
    if isinstance(there, Mapping) and isinstance(now, Mapping):
        return [
            words
            for key in sorted(there.keys() | now.keys())
            for words in _differing(f"{name}.{key}", there.get(key, _ABSENT), now.get(key, _ABSENT))
        ]
    return [] if there == now else [f"{name}: {_said(there)} there, {_said(now)} now"]


def _said(value: Any) -> str:
    return "absent" if value is _ABSENT else _HASH.sub(r"\1…", repr(value))


class RenamedEngine:
    """An engine under another name of its level."""

    def __init__(self, engine: Engine, level: str) -> None:
        self._engine, self._level = engine, level

    @property
    def level(self) -> str:
        """As given."""
        return self._level

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


STEP = 0.0025
"""Å; in a bond the error of a central difference, E''' h²/6, is then some 0.3 meV/Å, and noise of
1e-8 Hartree in the energies makes 0.1 meV/Å."""


class NumericalForces:
    """An engine whose forces are central differences, 6 n_atoms energies for each structure.

    Args:
        engine: gives the energies.
    """

    has_forces = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def level(self) -> str:
        """Of the engine."""
        return self._engine.level

    @property
    def definition(self) -> Mapping[str, Any]:
        """Of the engine, with the step."""
        return {**self._engine.definition, "forces": f"central differences, {STEP} Å"}

    def check(self, elements: Sequence[int], *, periodic: bool) -> None:
        """As the engine does."""
        self._engine.check(elements, periodic=periodic)

    def compute(self, system: System, *, forces: bool, log: TextIO) -> Labels:
        """Computes the energy, and 6 n_atoms more for the forces.

        Raises:
            LabelError: one of them failed.
        """
        here = self._engine.compute(system, forces=False, log=log)
        if not forces:
            return here
        found = np.zeros_like(system.positions)
        for place in np.ndindex(found.shape):
            sides = []
            for step in (STEP, -STEP):
                positions = system.positions.copy()
                positions[place] += step
                moved = replace(system, positions=positions)
                sides.append(self._engine.compute(moved, forces=False, log=log).energy)
            found[place] = -(sides[0] - sides[1]) / (2 * STEP)
        return Labels(energy=here.energy, forces=found)

    def use_threads(self, n: int | None) -> int:
        """As the engine does."""
        return self._engine.use_threads(n)


_THEORY = {
    "hf", "mp2", "mp3", "mp4", "cisd", "ccsd", "ccsd(t)", "dlpno-ccsd(t)", "lda", "svwn", "pbe",
    "pbe0", "pbesol", "revpbe", "rpbe", "blyp", "bp86", "b3lyp", "cam-b3lyp", "tpss", "tpssh",
    "scan", "r2scan", "m06-2x", "m06-l", "hse06", "wb97x", "wb97x-d", "wb97x-v", "wb97m", "wb97m-v",
    "b97-3c", "r2scan-3c", "pbeh-3c", "hf-3c", "b3lyp-3c", "wb97x-3c", "gfn-ff", "gfn0-xtb",
    "gfn1-xtb", "gfn2-xtb", "g-xtb", "pm6", "pm7", "am1", "dftb", "dftb3", "b2plyp", "dsd-blyp",
    "dsd-pbep86",
}  # fmt: skip
_DISPERSION = re.compile(r"-d(2|3|3bj|3zero|4)$")
"""Names of methods that a label by a model may not have, with or without dispersion."""


def is_theory(name: str, levels: Collection[str] = ()) -> bool:
    """Whether a canonical name is that of a level of theory, or one of `levels`."""
    return "/" in name or name in levels or _DISPERSION.sub("", name) in _THEORY


def check_model_name(asked: str, model: str, levels: Collection[str] = ()) -> str:
    """Returns the canonical spelling of a name for the labels of a trained model.

    Args:
        asked: the name.
        model: what the model is called.
        levels: that it was fitted to.

    Raises:
        ConfigError: it is the name of a level of theory.
    """
    name = canonical_level(asked)
    if is_theory(name, levels):
        raise ConfigError(
            f"labels by the model {model!r} may not be called {asked!r}, which is the name of a "
            "level of theory: they have the errors of the model. Leave level out (--level) for "
            "the name of the model, or choose another"
        )
    return name
