"""Whether energies are in the unit that they are read in, from free atoms and bonds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tlpot.data.frame import Frame
from tlpot.data.problem import Problem
from tlpot.units import ENERGY

BOND_ENERGY = 5.0
"""eV; a typical bond, of all kinds that QM methods give: most have 1.5 to 13."""

WEAKEST, STRONGEST = 0.6, 40.0
"""eV; mean energies of bonds that no unit in eV explains."""

DEEP = 5.0
"""eV per atom; free atoms above this are relative to something, so their sum says nothing."""

_SAME_ATOMS = 1.35
"""Factor by which molecules and the sum of their free atoms may differ in energy."""

_TWICE = 0.2
"""Distance from 2 of energies to which the free atoms were added once too often."""

_REMAINDER = 0.03
"""Largest share of molecular energies that is due to bonds, but for hydrogen alone."""

_SAME_BONDS = 3.0
"""Factor by which the energy of bonds may differ from a typical one."""


class EnergyCheck:
    """Collects energies of a level beside those of the free atoms.

    Args:
        level: of theory.
        isolated_atoms: energies of the free atoms, eV; structures with others are passed over.
    """

    def __init__(self, level: str, isolated_atoms: Mapping[int, float]) -> None:
        self._level = level
        self._atoms = isolated_atoms
        self._ratios: list[float] = []
        self._bonds: list[float] = []
        self._relative: list[float] = []

    def add(self, frame: Frame, n_bonds: int) -> None:
        """Notes a structure that has an energy."""
        numbers = frame.system.atomic_numbers.tolist()
        energy = frame.labels[self._level].energy
        if not set(numbers) <= self._atoms.keys() or not math.isfinite(energy):
            return
        free = sum(self._atoms[z] for z in numbers)
        if free < -DEEP * len(numbers):
            self._ratios.append(energy / free)
        if 2 * n_bonds >= len(numbers) > 1:
            self._bonds.append((free - energy) / n_bonds)
            self._relative.append(-energy / n_bonds)

    def _other_zero(self, ratio: float) -> str:
        """Names the zero of energy that was mistaken; empty where it is none."""
        if abs(ratio - 2) < _TWICE:
            others = _explain(ratio, _SAME_ATOMS)
            what = "total energies were read as relative to the free atoms (energy_zero)"
            return f"{what}, or {others}" if others else what
        few = 0 < ratio < _REMAINDER and bool(self._relative)
        if few and 1 / _SAME_BONDS < np.median(self._relative) / BOND_ENERGY < _SAME_BONDS:
            return "energies relative to the free atoms were read as total (energy_zero)"
        return ""

    def problems(self) -> list[Problem]:
        """Reports energies that fit another unit decisively better."""
        if self._ratios:
            ratio = float(np.median(self._ratios))
            if units := self._other_zero(ratio) or _explain(ratio, _SAME_ATOMS):
                what = (
                    f"{self._level}: energies are {ratio:.3g} times the sum of the free atoms "
                    f"(median of {len(self._ratios)} structures; expected 1 to 1.3), as if "
                    f"{units}; give the right units, or zero, of energies and of isolated atoms"
                )
                return [Problem(severity="warning", what=what)]
        if self._bonds:
            bond = float(np.median(self._bonds))
            decisive = 0 < bond < WEAKEST or bond > STRONGEST
            if decisive and (units := _explain(bond / BOND_ENERGY, _SAME_BONDS)):
                what = (
                    f"{self._level}: energies are {bond:.3g} eV for each bond below the free atoms "
                    f"(median of {len(self._bonds)} structures; expected about {BOND_ENERGY:g}), "
                    f"as if {units}; give the right unit of energies"
                )
                return [Problem(severity="warning", what=what)]
        return []


def _explain(factor: float, margin: float) -> str:
    """Names the units whose confusion gives the factor, the likeliest first."""
    if not factor > 0:
        return ""
    found = []
    for held, its in ENERGY.items():
        for read, unit in ENERGY.items():
            off = abs(math.log(factor * its / unit))
            nothing = abs(math.log(factor))
            if held != read and off < math.log(margin) and 2 * off < nothing:
                rank = (read != "ev", held != "hartree", off)
                found.append((rank, f"{held} were read as {read}"))
    return ", or ".join(text for _, text in sorted(found)[:3])
