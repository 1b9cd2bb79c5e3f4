"""Molecules in one piece and in their place, however their atoms are wrapped into the cell."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tlpot.fragments.lattice import Lattice


class Continuity:
    """Finds the image of each atom that makes molecules whole.

    Whole molecules stay next to where they were in the structure before, so that what was
    prepared for that one serves this one, too, if just the wrapping differs.

    Args:
        n_atoms: of the structure.
        bonds: [n_bonds, 2].
    """

    def __init__(self, n_atoms: int, bonds: NDArray[np.int64]) -> None:
        self._n_atoms, self._bonds = n_atoms, bonds
        self._last: tuple[NDArray[np.float64], Lattice] | None = None

    def shifts(self, positions: NDArray[np.float64], lattice: Lattice) -> NDArray[np.float64]:
        """Returns n for which molecules at ``positions + n @ cell`` are whole, [n_atoms, 3].

        Bonds are taken to be as short as any image of them; a molecule that is bound to its own
        image is torn somewhere.
        """
        up, root = self._tree
        found = lattice.nearest(positions - positions[up])
        while not np.array_equal(up, root):  # adds up the path to the root in log(length) steps
            found = found + found[up]
            up = up[up]
        if self._last is not None and self._last[1].same_directions(lattice):
            before, then = self._last
            moved = positions + found @ lattice.vectors - before @ then.deformation(lattice)
            found = found - lattice.rounded(moved)[root]
        self._last = positions + found @ lattice.vectors, lattice
        return found

    @cached_property
    def _tree(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The atom before each atom on a path of bonds from its molecule's first atom, and that."""
        from scipy import sparse
        from scipy.sparse import csgraph

        n = self._n_atoms
        i, j = self._bonds.T
        bonds = sparse.coo_array((np.ones(len(i)), (i, j)), shape=(n, n)).tocsr()
        _, molecule = csgraph.connected_components(bonds, directed=False)
        _, first = np.unique(molecule, return_index=True)
        # one more node that is bound to the first atom of each molecule starts a single search
        rows, columns = np.concatenate([i, np.full(len(first), n)]), np.concatenate([j, first])
        joined = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(n + 1, n + 1))
        _, up = csgraph.breadth_first_order(joined.tocsr(), n, directed=False)
        up = up[:n].astype(np.int64)
        up[first] = first
        return up, first[molecule]
