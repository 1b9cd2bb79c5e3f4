"""Neighbour lists: all ordered pairs closer than a cutoff, periodic images included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from vesin import NeighborList

from tlpot.bond_thresholds import NETWORK_REACH, RADII
from tlpot.errors import GeometryError
from tlpot.numbers import Floats, Ints
from tlpot.system import System, check_system

CLOSEST = 0.1
"""Two atoms nearer than this (Å) are taken for a mistake in the input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbors:
    """Directed pairs sorted by center: every pair appears once from each side.

    Attributes:
        center: [n_edges], int64, non-decreasing.
        neighbor: [n_edges], int64.
        shifts: [n_edges, 3], float64 whole numbers; the neighbour sits at
            ``positions[neighbor] + shifts @ cell``.
    """

    center: Ints
    neighbor: Ints
    shifts: Floats


def neighbor_list(
    system: System, cutoff: float, name: str = "the structure", closest: float = CLOSEST
) -> Neighbors:
    """Finds all pairs with distance below `cutoff` (Å), for any mixture of periodic axes.

    Args:
        system: the structure.
        cutoff: Å.
        name: what to call the structure in a message.
        closest: Å; atoms nearer than this are refused.

    Raises:
        GeometryError: the structure is unusable (see `check_system`), or two atoms are
            closer than `closest`.
    """
    check_system(system, name)
    finder = NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    i, j, shifts, distances = finder.compute(
        points=np.ascontiguousarray(system.positions),
        box=_full_cell(system),
        periodic=system.pbc.tolist(),
        quantities="ijSd",
    )
    center, neighbor = i.astype(np.int64), j.astype(np.int64)
    if len(distances) and distances.min() < closest:
        worst = int(distances.argmin())
        a, b = int(center[worst]), int(neighbor[worst])
        raise GeometryError(
            f"{name}: atoms {a} and {b} are {distances[worst]:.3f} Å apart, less than "
            f"{closest} Å; a duplicate atom, a wrong length unit, or a cell that is too small?"
        )
    return Neighbors(center=center, neighbor=neighbor, shifts=shifts.astype(np.float64))


def is_endless(system: System) -> bool:
    """Whether bonds lead from an atom to an image of itself: a crystal, a surface, a chain.

    Molecules in a box are not, nor is an unusable structure.

    Args:
        system: with finite positions.
    """
    if not system.pbc.any():
        return False
    radii = RADII[system.atomic_numbers]
    try:
        near = neighbor_list(system, 2.0 * NETWORK_REACH * float(radii.max()), closest=0.0)
    except GeometryError:
        return False
    i, j = near.center, near.neighbor
    ends = system.positions[j] + near.shifts @ system.cell
    lengths = np.linalg.norm(ends - system.positions[i], axis=1)
    bonded = lengths < NETWORK_REACH * (radii[i] + radii[j])
    bonds: list[list[tuple[int, Floats]]] = [[] for _ in range(len(system))]
    for a, b, shift in zip(i[bonded], j[bonded], near.shifts[bonded], strict=True):
        bonds[a].append((int(b), shift))
    images, known = np.zeros((len(system), 3)), np.zeros(len(system), dtype=bool)
    for start in range(len(system)):
        waiting = [] if known[start] else [start]
        known[start] = True
        while waiting:
            atom = waiting.pop()
            for other, shift in bonds[atom]:
                image = images[atom] + shift
                if not known[other]:
                    images[other], known[other] = image, True
                    waiting.append(other)
                elif (images[other] != image).any():
                    return True
    return False


def _full_cell(system: System) -> Floats:
    """Completes missing lattice vectors along open directions, where their length is irrelevant."""
    if not system.pbc.any():
        return np.zeros((3, 3))
    cell = np.array(system.cell)
    missing = np.linalg.norm(cell, axis=1) < 1e-6
    if missing.any():
        # the null space of the given vectors: orthonormal, so never singular
        _, _, basis = np.linalg.svd(cell[~missing])
        cell[missing] = basis[len(cell) - missing.sum() :]
    return cell
