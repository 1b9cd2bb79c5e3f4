"""Elements by numbers that follow from the periodic table, for those that no training has seen."""

from __future__ import annotations

import functools

import numpy as np
from ase.data import covalent_radii, ground_state_magnetic_moments

from tlpot.numbers import Floats

HEAVIEST = 96
"""Curium; beyond it covalent radii are guesses."""
N_ELEMENTAL = 16
"""Features of an element."""

_CORES = (0, 2, 10, 18, 36, 54, 86)
_PERIODS = (
    ((1, "s"),), ((2, "s"), (2, "p")), ((3, "s"), (3, "p")), ((4, "s"), (3, "d"), (4, "p")),
    ((5, "s"), (4, "d"), (5, "p")), ((6, "s"), (4, "f"), (5, "d"), (6, "p")),
    ((7, "s"), (5, "f"), (6, "d"), (7, "p")),
)  # fmt: skip
_ROOM = {"s": 2, "p": 6, "d": 10, "f": 14}


@functools.cache
def elemental_features() -> Floats:
    """Returns features of the elements, [HEAVIEST + 1, N_ELEMENTAL], float64; row 0 is none.

    Period, electrons outside of the noble-gas core by kind, free places in p and d shells, the
    effective nuclear charge by Slater's rules (doi:10.1103/PhysRev.36.57), the electronegativity
    that follows (Allred and Rochow, doi:10.1016/0022-1902(58)80003-2), covalent radius (Cordero et
    al., doi:10.1039/b801115j) and magnetic moment (both as in ASE); each with mean 0 and variance 1
    over the elements.
    """
    rows = [_features(z) for z in range(1, HEAVIEST + 1)]
    table = np.array(rows, dtype=np.float64)
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    return np.concatenate([np.zeros((1, N_ELEMENTAL)), table])


def _features(z: int) -> list[float]:
    period = sum(z > core for core in _CORES)
    valence = z - _CORES[period - 1]
    kinds, left = dict.fromkeys("spdf", 0), valence
    shells: dict[int, int] = {}
    for row in _PERIODS[: period - 1]:
        for n, kind in row:
            shells[n] = shells.get(n, 0) + _ROOM[kind]
    for n, kind in _PERIODS[period - 1]:
        kinds[kind] = min(left, _ROOM[kind])
        shells[n] = shells.get(n, 0) + kinds[kind]
        left -= kinds[kind]
    inner = sum(count for n, count in shells.items() if n < period - 1)
    shielding = 0.35 * (shells[period] - 1) + 0.85 * shells.get(period - 1, 0) + inner
    radius = float(covalent_radii[z])
    charge = z - shielding
    negativity = 0.359 * charge / radius**2 + 0.744
    free_p = 6 - kinds["p"] if period > 1 else 0
    free_d = 10 - kinds["d"] if period > 3 and kinds["p"] == 0 else 0
    return [
        period, *(float(kinds[kind]) for kind in "spdf"), free_p, free_d, valence, valence**0.5,
        charge, negativity, negativity**2, radius, radius**2, z**0.5,
        float(ground_state_magnetic_moments[z]),
    ]  # fmt: skip
