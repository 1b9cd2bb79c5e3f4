"""Whether positions are in the unit that they are read in, from the lengths of bonds."""

from __future__ import annotations

import math

import numpy as np

from tlpot.data.closeness import Closeness
from tlpot.data.problem import Problem
from tlpot.units import LENGTH

MARGIN = 1.25
"""Factor by which bonds differ from covalent radii and still tell the unit."""

ENOUGH = 10
"""Structures of three atoms or more that make it certain."""

_SHARE = 0.1
"""Share of the structures that may be otherwise: dissociated, or squeezed."""


class LengthCheck:
    """Collects the closeness of atoms in the structures of a dataset."""

    def __init__(self) -> None:
        self._distances: list[float] = []
        self._n_molecules = 0

    def add(self, found: Closeness, n_atoms: int) -> None:
        """Notes a structure."""
        self._distances.append(found.distance)
        self._n_molecules += n_atoms > 2

    def problems(self) -> list[Problem]:
        """Reports positions whose bonds fit another unit decisively better."""
        if not self._distances:
            return []
        low, middle, high = np.quantile(self._distances, [_SHARE, 0.5, 1 - _SHARE])
        for held, its in LENGTH.items():
            for read, unit in LENGTH.items():
                expected = unit / its
                if abs(math.log(expected)) < math.log(MARGIN):
                    continue
                if expected / MARGIN < low and high < expected * MARGIN:
                    return [self._problem(middle, held, read)]
        return []

    def _problem(self, middle: float, held: str, read: str) -> Problem:
        certain = self._n_molecules >= ENOUGH
        return Problem(
            severity="error" if certain else "warning",
            what=f"the nearest atoms are {middle:.3g} covalent bonds apart (median of "
            f"{len(self._distances)} structures; expected about 1), as if positions in {held} were "
            f"read as {read}; give the right unit of coordinates in the file or its description",
        )
