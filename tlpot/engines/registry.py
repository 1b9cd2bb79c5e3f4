"""Engines by name, and engines made from others: renamed, or with numerical forces."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TextIO

import numpy as np

from tlpot.data import Labels
from tlpot.engines.engine import Engine
from tlpot.engines.names import KINDS, EngineName, parse_engine
from tlpot.errors import ConfigError, nearest
from tlpot.levels import total_level
from tlpot.system import System

ForceChoice = Literal["auto", "no", "analytic", "numerical"]
FORCE_CHOICES: tuple[ForceChoice, ...] = ("auto", "no", "analytic", "numerical")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSpec:
    """An engine as plain data, from which every worker makes its own.

    Attributes:
        name: such as ``gfn2-xtb`` or ``pyscf:wb97x/6-31g*``, see `tlpot.engines.names`.
        settings: of the engine, beside those in the name; what is left out has its default.
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

    @property
    def parsed(self) -> EngineName:
        """The name taken apart, with all settings.

        Raises:
            ConfigError: no such engine, or a setting that is given twice.
        """
        found = parse_engine(self.name)
        twice = sorted(found.settings.keys() & self.settings.keys())
        if twice:
            raise ConfigError(f"engine {self.name} is told {', '.join(twice)} twice; say it once")
        return replace(found, settings={**found.settings, **self.settings})


def make_engine(spec: EngineSpec) -> Engine:
    """Makes an engine, or returns the one of this process.

    Raises:
        ConfigError: no such engine, method, basis set or setting (the nearest is offered), or
            forces were asked for that do not exist.
        MissingExtraError: its program is not installed.
    """
    name = spec.parsed
    text = json.dumps([name.kind, name.target, name.level, dict(name.settings)], sort_keys=True)
    return _made(text, spec.level, spec.forces, _version(name))


def _version(name: EngineName) -> tuple[int, int] | None:
    """What tells that the file behind a name is another one."""
    if name.kind != "model":
        return None
    from tlpot.models import library_file

    status = library_file(name.target).stat()
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=8)
def _made(
    text: str, label: str | None, forces: ForceChoice, version: tuple[int, int] | None
) -> Engine:
    kind, target, level, settings = json.loads(text)
    name = EngineName(kind=kind, target=target, level=level, settings=settings)
    if label is not None:
        label = total_level(label, "labelling")
    engine: Engine = importlib.import_module(KINDS[kind].module).make_engine(name, label)
    if label is not None and engine.level != label:
        engine = _Renamed(engine, label)
    if forces == "numerical":
        return NumericalForces(engine)
    if forces == "analytic" and not engine.has_forces:
        raise ConfigError(
            f"{name.text} has no analytic forces here: of PySCF's methods HF, density functionals, "
            "MP2, CCSD and CCSD(T) have them (the last three with density_fitting=false), and so "
            "have GFN1-xTB, GFN2-xTB and most tlpot models. Take forces=no (energies only), or "
            "forces=numerical (central differences, 6 energies for each atom)"
        )
    return engine


class _Renamed:
    """An engine under another name of its level."""

    def __init__(self, engine: Engine, level: str) -> None:
        self._engine, self._level = engine, level

    @property
    def level(self) -> str:
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
