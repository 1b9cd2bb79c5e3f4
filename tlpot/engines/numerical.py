"""Forces from energies, for levels that have no gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TextIO

import numpy as np

from tlpot.data import Labels
from tlpot.engines.engine import Engine
from tlpot.system import System

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
