"""Periodic molecules in one piece."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from tlpot.fragments.bonds import refuse_infinite
from tlpot.fragments.lattice import Lattice
from tlpot.system import System

TOLERANCE = 1e-3
"""Å; around a closed ring of bonds the vectors add up to nothing, or to a lattice vector."""


def unwrap(system: System, bonds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Moves atoms by lattice vectors so that bonds are as long as they look.

    Every molecule stays where its lowest atom is; a structure without periodic directions is
    returned as it is.

    Args:
        system: the structure.
        bonds: [n_bonds, 2], such as `Topology.bonds`.

    Returns:
        Positions, [n_atoms, 3], Å, a copy.

    Raises:
        GeometryError: a molecule is bound to its own periodic image.
    """
    positions = np.array(system.positions, dtype=np.float64)
    lattice = Lattice.of(system)
    if lattice is None or not len(bonds):
        return positions
    vectors = positions[bonds[:, 1]] - positions[bonds[:, 0]]
    vectors = vectors + lattice.nearest(vectors) @ lattice.vectors
    return follow_bonds(system, bonds, vectors)


def follow_bonds(
    system: System, bonds: NDArray[np.int64], vectors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Places the atoms of every molecule along given bond vectors; see `unwrap`."""
    positions = np.array(system.positions, dtype=np.float64)
    steps: list[list[tuple[int, int, int]]] = [[] for _ in positions]
    for bond, (a, b) in enumerate(bonds.tolist()):
        steps[a].append((b, bond, 1))
        steps[b].append((a, bond, -1))
    done = np.zeros(len(positions), dtype=bool)
    for start in range(len(positions)):
        if done[start]:
            continue
        done[start] = True
        queue = deque([start])
        while queue:
            atom = queue.popleft()
            for other, bond, sign in steps[atom]:
                if not done[other]:
                    positions[other] = positions[atom] + sign * vectors[bond]
                    done[other] = True
                    queue.append(other)
    gaps = positions[bonds[:, 1]] - positions[bonds[:, 0]] - vectors
    torn = np.flatnonzero(np.abs(gaps).max(axis=1, initial=0.0) > TOLERANCE)
    if torn.size:
        refuse_infinite(sorted({int(a) for a in bonds[torn].ravel()}), system.atomic_numbers, None)
    return positions
