"""Energies of one composition that lie further apart than bonds explain: two units in one file."""

from __future__ import annotations

import math

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from numpy.typing import NDArray

from tlpot.data.dataset import Frame, Problem
from tlpot.units import ENERGY

_APART = 10.0
"""eV per atom; more than atoms are bound by."""
_FEWEST, _SHARE = 2, 0.05
"""Frames, and share of them, that the smaller group has; fewer are outliers."""
_SAME_FACTOR = 0.03
"""Distance of the logarithm of a ratio to that of a factor between units."""


class EnergyGroups:
    """Collects energies by composition and charge.

    Args:
        level: of theory.
    """

    def __init__(self, level: str) -> None:
        self._level = level
        self._found: dict[tuple[tuple[int, ...], int], list[tuple[float, str]]] = {}

    def add(self, frame: Frame) -> None:
        """Notes a structure that has an energy."""
        energy = frame.labels[self._level].energy
        if math.isfinite(energy) and len(frame.system) > 1:
            numbers = tuple(sorted(frame.system.atomic_numbers.tolist()))
            key = numbers, frame.system.charge
            self._found.setdefault(key, []).append((energy, frame.name))

    def problems(self) -> list[Problem]:
        """Reports the composition whose energies are furthest apart, if that is too far."""
        worst: tuple[float, Problem] | None = None
        for (numbers, _), noted in self._found.items():
            noted = sorted(noted)
            energies = np.array([energy for energy, _ in noted])
            place = _gap(energies)
            if place is None:
                continue
            apart = float(energies[place] - energies[place - 1]) / len(numbers)
            if apart > _APART and (worst is None or apart > worst[0]):
                less = noted[:place] if 2 * place < len(noted) else noted[place:]
                names = tuple(name for _, name in less)
                worst = apart, self._problem(numbers, energies, place, names)
        return [] if worst is None else [worst[1]]

    def _problem(
        self,
        numbers: tuple[int, ...],
        energies: NDArray[np.float64],
        place: int,
        names: tuple[str, ...],
    ) -> Problem:
        low, high = float(np.median(energies[:place])), float(np.median(energies[place:]))
        symbols = [chemical_symbols[z] for z in numbers]
        formula = Formula.from_list(symbols).format("hill")
        units = _units(low / high) if high else ""
        return Problem(
            severity="warning",
            what=f"{self._level}: energies of {formula} fall into two groups, about {low:.8g} and "
            f"{high:.8g} eV, further apart than bonds explain: "
            + (f"{units} in one file, " if units else "")
            + "two units, two levels of theory or two zeros of energy; name the level and the unit "
            "of each part (a file for each)",
            frames=names,
        )


def _gap(energies: NDArray[np.float64]) -> int | None:
    """Returns where the widest gap of sorted energies ends that has enough on both sides."""
    fewest = max(_FEWEST, math.ceil(_SHARE * len(energies)))
    if len(energies) < 2 * fewest:
        return None
    steps = np.diff(energies)
    steps = steps[fewest - 1 : len(energies) - fewest]
    return fewest + int(np.argmax(steps))


def _units(ratio: float) -> str:
    """Names the two units whose factor the ratio is."""
    if ratio <= 0:
        return ""
    for one, factor in ENERGY.items():
        for other, by in ENERGY.items():
            if factor != by and abs(math.log(ratio * factor / by)) < _SAME_FACTOR:
                return f"as {one} and {other} would give"
    return ""
