"""Whether total energies are of a size that their composition allows, without free atoms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from ase.units import Hartree
from numpy.typing import NDArray

from tlpot.data.dataset import Problem
from tlpot.plural import counted
from tlpot.units import ENERGY

_ALL_ELECTRON = {
    1: -0.500, 2: -2.904, 3: -7.478, 4: -14.667, 5: -24.654, 6: -37.845, 7: -54.589, 8: -75.067,
    9: -99.734, 10: -128.938, 11: -162.255, 12: -200.053, 13: -242.346, 14: -289.359, 15: -341.259,
    16: -398.110, 17: -460.148, 18: -527.540,
}  # fmt: skip
"""Hartree; free atoms without relativity (doi:10.1103/PhysRevA.47.3649)."""

_TIGHT_BINDING = {
    1: -0.39, 5: -0.95, 6: -1.80, 7: -2.61, 8: -3.77, 9: -4.62, 14: -1.57, 15: -2.38, 16: -3.15,
    17: -4.48, 35: -4.05, 53: -3.78,
}  # fmt: skip
"""Hartree; free atoms of GFN2-xTB, which has valence electrons only."""

_CORE_POTENTIAL = {
    1: -0.5, 5: -2.6, 6: -5.4, 7: -9.75, 8: -15.85, 9: -24.1, 14: -3.75, 15: -6.45, 16: -10.05,
    17: -14.9, 35: -13.2, 53: -11.3,
}  # fmt: skip
"""Hartree; free atoms with the usual small-valence core potentials."""

_MOST_BOUND, _MOST_BOUND_HYDROGEN = 10.0, 4.0
"""eV for each atom that a relative energy may have: more than solids and molecules are bound by."""

_DEEPEST, _SHALLOWEST = 1.006, 0.98
"""Range of all-electron energies over the sum of the free atoms: minimal bases to DFT."""

_RELATIVISTIC = 36
"""Atomic number above which relativity deepens the energies by per cents."""

_VALENCE = 0.95, 1.4
"""The same range for valence electrons, which bonds change by more."""

_LIGHT = 10
"""Atomic number up to which one composition proves a unit; valence energies of heavier atoms may
meet all-electron energies in another unit."""

_ENOUGH = 3
"""Compositions that prove a unit together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Composition:
    """A composition with its median energy.

    Attributes:
        numbers: atomic numbers, ascending.
        energy: as read, eV.
    """

    numbers: tuple[int, ...]
    energy: float

    def is_total(self, factor: float = 1.0) -> bool:
        """Whether the energy, times a factor, may be that of all electrons."""
        free = Hartree * sum(_all_electron(z) for z in self.numbers)
        deepest = 1.1 if max(self.numbers) > _RELATIVISTIC else _DEEPEST
        least = deepest * free - _MOST_BOUND * len(self.numbers)
        return least <= self.energy * factor <= _SHALLOWEST * free

    def is_valence(self, factor: float = 1.0) -> bool:
        """Whether the energy, times a factor, may be that of the valence electrons."""
        for table in (_TIGHT_BINDING, _CORE_POTENTIAL):
            if all(z in table for z in self.numbers):
                free = Hartree * sum(table[z] for z in self.numbers)
                if _VALENCE[0] <= self.energy * factor / free <= _VALENCE[1]:
                    return True
        return False

    @property
    def is_relative(self) -> bool:
        """Whether the energy may be one in eV that is relative to something."""
        n_hydrogen = self.numbers.count(1)
        bound = _MOST_BOUND_HYDROGEN * n_hydrogen
        return self.energy > -bound - _MOST_BOUND * (len(self.numbers) - n_hydrogen)

    @property
    def is_too_deep(self) -> bool:
        """Whether no electrons at all give such an energy."""
        free = Hartree * sum(_all_electron(z) for z in self.numbers)
        return self.energy < 1.25 * free - _MOST_BOUND * len(self.numbers)


class TotalEnergyCheck:
    """Collects energies of structures, of whose elements no free atoms are known.

    Args:
        level: of theory.
    """

    def __init__(self, level: str) -> None:
        self._level = level
        self._energies: dict[tuple[int, ...], list[float]] = {}

    def add(self, atomic_numbers: NDArray[np.int64], energy: float) -> None:
        """Notes a structure; one without an energy is passed over."""
        if math.isfinite(energy):
            numbers = tuple(sorted(atomic_numbers.tolist()))
            self._energies.setdefault(numbers, []).append(energy)

    def problems(self) -> list[Problem]:
        """Reports energies that another unit explains and eV does not."""
        found = [
            _Composition(numbers=numbers, energy=float(np.median(energies)))
            for numbers, energies in self._energies.items()
        ]
        strange = [c for c in found if not (c.is_total() or c.is_valence() or c.is_relative)]
        alone = [c for c in strange if c.is_too_deep or max(c.numbers) <= _LIGHT]
        for units, factor in _MISTAKES:
            hit = [c for c in alone if c.is_total(factor)]
            if hit and (factor in _LIKELY or all(c.is_too_deep for c in hit)):
                return [self._problem(hit, len(found), units)]
        if len(found) >= _ENOUGH and not all(c.is_total() or c.is_valence() for c in found):
            for units, factor in _MISTAKES:
                if all(c.is_total(factor) for c in found) or (
                    factor in _LIKELY and all(c.is_valence(factor) for c in found)
                ):
                    return [self._problem(found, len(found), units)]
        deep = [c for c in found if c.is_too_deep]
        return [self._problem(deep, len(found), "")] if deep else []

    def _problem(self, hit: Sequence[_Composition], n_all: int, units: str) -> Problem:
        first = hit[0]
        free = Hartree * sum(_all_electron(z) for z in first.numbers)
        symbols = Counter(chemical_symbols[z] for z in first.numbers)
        formula = Formula.from_dict(symbols).format("hill")
        why = f"as if {units}; give the right unit of energies" if units else "in no unit known"
        what = (
            f"{self._level}: energies of {len(hit)} of {counted(n_all, 'composition')} are no "
            f"total energies "
            f"in eV ({formula}: read as {first.energy:.6g} eV, the electrons of "
            f"its atoms have about {free:.6g} eV), {why}"
        )
        return Problem(severity="warning", what=what)


def _all_electron(z: int) -> float:
    """Energy of a free atom, hartree; the series of doi:10.1103/PhysRevA.24.2353."""
    if z in _ALL_ELECTRON:
        return _ALL_ELECTRON[z]
    return -0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.269900 * z ** (5 / 3)


def _mistakes() -> list[tuple[str, float]]:
    """What may have been mistaken for what, with the factor that mends it, likeliest first."""
    pairs = [(held, read) for held in ENERGY for read in ENERGY if ENERGY[held] != ENERGY[read]]
    pairs.sort(key=lambda pair: (pair[1] != "ev", pair[0] != "hartree"))
    return [(f"{held} were read as {read}", ENERGY[held] / ENERGY[read]) for held, read in pairs]


_MISTAKES = tuple(_mistakes())
_LIKELY = (ENERGY["hartree"] / ENERGY["ev"],)
"""Factors of mistakes that single compositions may prove."""
