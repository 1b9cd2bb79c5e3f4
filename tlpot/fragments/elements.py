"""What perception knows of the elements: which bond covalently, and what a lone ion carries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from numpy.typing import NDArray

RADII: NDArray[np.float64] = np.asarray(covalent_radii, dtype=np.float64)
"""Covalent radii by atomic number, Å (doi:10.1039/b801115j)."""


def _numbers(symbols: str) -> frozenset[int]:
    return frozenset(atomic_numbers[symbol] for symbol in symbols.split())


NOBLE = _numbers("He Ne Ar Kr Xe Rn")
HALOGENS = _numbers("F Cl Br I At")
COVALENT = _numbers("H B C N O Si P S Ge As Se Te") | HALOGENS
"""Elements that form covalent bonds; all others, noble gases apart, are metals."""

LABILE = _numbers("Li Na K Rb Cs Fr")
"""Metals whose first shell comes and goes: never merged with it."""

_CHARGES = {
    1: "Li Na K Rb Cs Fr Ag Tl",
    3: "Al Ga In Sc Y Cr La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Yb Lu",
}
_CHARGES[2] = "Be Mg Ca Sr Ba Ra Zn Cd Hg Mn Fe Co Ni Cu Pb V Sn Pd Pt"
ION_CHARGES = {z: charge for charge, symbols in _CHARGES.items() for z in _numbers(symbols)}
"""The usual charge of a metal ion, e; the oxidation state cannot be seen in a geometry."""
ION_CHARGES.update(dict.fromkeys(NOBLE, 0))


def symbol(number: int) -> str:
    """Returns the symbol of an element, or ``Z=0`` for what is none."""
    return chemical_symbols[number] if 0 < number < len(chemical_symbols) else f"Z={number}"


def formula(numbers: Iterable[int]) -> str:
    """Returns the formula in Hill order: carbon, hydrogen, then the alphabet."""
    counts = Counter(symbol(int(number)) for number in numbers)
    first = [s for s in ("C", "H") if s in counts] if "C" in counts else []
    order = first + sorted(set(counts) - set(first))
    return "".join(s + (str(counts[s]) if counts[s] > 1 else "") for s in order)
