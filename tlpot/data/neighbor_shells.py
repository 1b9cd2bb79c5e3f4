"""Which structures are the same in whatever cell, or of one type: neighbour shells compared.

The distances from each atom to its nearest neighbours of each element are averaged over the atoms
of an element, as in the average minimum distances of Widdowson et al.,
https://doi.org/10.46793/match.87-3.529W. They do not change when atoms are listed in another order,
when the origin moves, when the structure is turned or mirrored, or when another cell or a supercell
describes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tlpot.neighbors import neighbor_list
from tlpot.numbers import Bools
from tlpot.system import System

N_NEIGHBORS = 20
"""Neighbours of each element: hcp differs from fcc in the 19th."""

IDENTICAL = 0.005
"""Largest difference of two shells of one structure, in units of the nearest neighbour distance."""

ALIKE = 0.03
"""The same for two structures of one prototype, whose distances are scaled and axes differ."""

_FIRST_CUTOFF, _GROWTH, _LAST_CUTOFF = 5.0, 1.3, 100.0


@dataclass(frozen=True, kw_only=True)
class NeighborShells:
    """How far the neighbours of the atoms of a structure are, as a share of the nearest.

    Attributes:
        elements: atomic numbers, ascending, [n_elements].
        counts: atoms of each in the reduced formula, [n_elements].
        nearest: mean distance of an atom to its nearest neighbour, Å; infinite for a lone atom.
        pairs: nearest / distance of the k-th neighbour, mean and standard deviation over the
            atoms of an element, [n_elements, n_elements of the neighbour, k, 2]; 0 where there is
            no such neighbour.
        others: the same for neighbours of all other elements together, [n_elements, k, 2].
    """

    elements: NDArray[np.int64]
    counts: NDArray[np.int64]
    nearest: float
    pairs: NDArray[np.float64]
    others: NDArray[np.float64]

    @cached_property
    def point(self) -> NDArray[np.float64]:
        """Coordinates that differ by at most `IDENTICAL` for one structure of a formula; flat."""
        size = np.log(self.nearest) if np.isfinite(self.nearest) else 0.0
        return np.append(self.pairs.ravel(), size)

    @cached_property
    def anonymous(self) -> NDArray[np.float64]:
        """The shells without the elements, those of the same share averaged; flat."""
        own = np.concatenate([self.pairs[range(n := len(self.counts)), range(n)], self.others], 1)
        return np.concatenate(
            [own[self.counts == count].mean(axis=0).ravel() for count in np.unique(self.counts)]
        )


def neighbor_shells(system: System) -> NeighborShells:
    """Measures the distances by which structures are compared.

    Args:
        system: the structure.

    Raises:
        GeometryError: atoms in one place, or an unusable cell.
    """
    elements, kinds, counts = np.unique(
        system.atomic_numbers, return_inverse=True, return_counts=True
    )
    n_kinds, n_atoms = len(elements), len(system)
    inverse = _inverse_distances(system, kinds, n_kinds)
    closest = inverse.max(axis=(1, 2))
    nearest = float(np.mean(1 / closest)) if closest.all() else np.inf
    shares = inverse * (nearest if np.isfinite(nearest) else 0.0)
    foreign = np.where(np.eye(n_kinds, dtype=bool)[kinds][:, :, None], 0.0, shares)
    others = -np.sort(-foreign.reshape(n_atoms, -1), axis=1)[:, :N_NEIGHBORS]
    members = [kinds == k for k in range(n_kinds)]
    return NeighborShells(
        elements=elements,
        counts=counts // np.gcd.reduce(counts),
        nearest=nearest,
        pairs=np.stack([_mean_and_deviation(shares[own]) for own in members]),
        others=np.stack([_mean_and_deviation(others[own]) for own in members]),
    )


def _mean_and_deviation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([values.mean(axis=0), values.std(axis=0)], axis=-1)


def _inverse_distances(
    system: System, kinds: NDArray[np.int64], n_kinds: int
) -> NDArray[np.float64]:
    """Returns 1 / distance of the nearest neighbours, [n_atoms, n_kinds, k], the nearest first."""
    n_atoms, cutoff = len(system), _FIRST_CUTOFF
    endless = bool(system.pbc.any())
    reach = _LAST_CUTOFF if endless else 1.0 + np.ptp(system.positions, axis=0).sum()
    while True:
        found = neighbor_list(system, min(cutoff, reach))
        rows = found.center * n_kinds + kinds[found.neighbor]
        counts = np.bincount(rows, minlength=n_atoms * n_kinds)
        if counts.min() >= N_NEIGHBORS or cutoff >= reach:
            break
        cutoff *= _GROWTH
    offsets = system.positions[found.neighbor] - system.positions[found.center]
    distances = np.linalg.norm(offsets + found.shifts @ system.cell, axis=1)
    order = np.lexsort((distances, rows))
    rows = rows[order]
    rank = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
    near = rank < N_NEIGHBORS
    inverse = np.zeros((n_atoms * n_kinds, N_NEIGHBORS))
    inverse[rows[near], rank[near]] = 1 / distances[order[near]]
    return inverse.reshape(n_atoms, n_kinds, N_NEIGHBORS)


def same_structure(one: NeighborShells, two: NeighborShells) -> bool:
    """Whether two structures are the same, in any cell and order of their atoms.

    Mirror images pass for the same, and so do structures that differ only beyond the twentieth
    neighbour of each element, such as long stacking sequences, or in spin and charge.
    """
    return bool(
        np.array_equal(one.elements, two.elements)
        and np.array_equal(one.counts, two.counts)
        and np.abs(one.point - two.point).max() <= IDENTICAL
    )


def occurs_among(shells: Sequence[NeighborShells], others: Sequence[NeighborShells]) -> Bools:
    """Returns which structures are the same as one of others, [n]; all of one reduced formula."""
    from scipy.spatial import cKDTree  # slow to import

    tree = cKDTree(np.stack([other.point for other in others]))
    points = np.stack([one.point for one in shells])
    distances, _ = tree.query(points, p=np.inf, distance_upper_bound=np.nextafter(IDENTICAL, 1))
    return np.isfinite(distances)


def linked(points: NDArray[np.float64], step: float = ALIKE) -> tuple[int, NDArray[np.int64]]:
    """Returns how many sets of points are apart, and which of them each point is in, [n_points].

    Args:
        points: [n_points, n_dims].
        step: points of which no coordinate differs by more are in one set, and so is what such
            steps lead to.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(step, p=np.inf, output_type="ndarray")
    n = len(points)
    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    found, labels = connected_components(graph, directed=False)
    return int(found), labels.astype(np.int64)
