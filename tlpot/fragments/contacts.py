"""Which units are close to each other, in linear time."""

from __future__ import annotations

import numpy as np
import vesin
from numpy.typing import NDArray
from scipy import sparse

from tlpot.fragments.topology import Topology


def close_atoms(positions: NDArray[np.float64], reach: float) -> NDArray[np.int64]:
    """Returns the pairs i < j of atoms less than `reach` apart, [n_pairs, 2]."""
    finder = vesin.NeighborList(cutoff=reach, full_list=False)
    i, j = finder.compute(
        points=np.ascontiguousarray(positions),
        box=np.zeros((3, 3)),
        periodic=False,
        quantities="ij",
    )
    return np.stack([i, j], axis=1).astype(np.int64)


def unit_contacts(
    topology: Topology, positions: NDArray[np.float64], reach: float
) -> sparse.csr_array:
    """Returns which units have atoms less than `reach` apart, [n_units, n_units], symmetric.

    A unit is in contact with itself.
    """
    owner, n_units = topology.unit_of, len(topology.units)
    pairs = owner[close_atoms(positions, reach)]
    own = np.arange(n_units)
    rows = np.concatenate([pairs[:, 0], pairs[:, 1], own])
    columns = np.concatenate([pairs[:, 1], pairs[:, 0], own])
    ones = np.ones(len(rows), dtype=np.int64)
    return sparse.coo_array((ones, (rows, columns)), shape=(n_units, n_units)).tocsr()


def set_pairs(
    sets: list[frozenset[int]], contacts: sparse.csr_array
) -> list[tuple[int, int, bool]]:
    """Returns the pairs a < b of sets that share a unit or touch, and whether they share one."""
    rows = np.concatenate([np.full(len(s), k) for k, s in enumerate(sets)])
    columns = np.concatenate([np.fromiter(sorted(s), dtype=np.int64) for s in sets])
    ones = np.ones(len(rows), dtype=np.int64)
    member = sparse.coo_array((ones, (rows, columns)), shape=(len(sets), contacts.shape[0])).tocsr()
    touching = sparse.triu(member @ contacts @ member.T, k=1).tocoo()
    shared = (member @ member.T).tocsr()
    a, b = touching.coords
    common = np.asarray(shared[a, b]).ravel() > 0 if len(a) else np.zeros(0, dtype=bool)
    return sorted(zip(a.tolist(), b.tolist(), common.tolist(), strict=True))
