"""The periodic directions of a structure, and molecules in one piece."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tlpot.graph import AtomGraph
from tlpot.numbers import Bools, Floats, Ints
from tlpot.system import System
from tlpot.topology.bonds import refuse_infinite


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Lattice vectors along one, two or three directions.

    Attributes:
        vectors: [3, 3], rows are lattice vectors, Å; zeros along open directions.
    """

    vectors: Floats

    @classmethod
    def of(cls, system: System) -> Lattice | None:
        """Returns that of a structure, None in vacuum."""
        return cls._of(system.cell, system.pbc)

    @classmethod
    def of_graph(cls, graph: AtomGraph) -> Lattice | None:
        """Returns that of a graph of one structure, None in vacuum."""
        if graph.cell is None:
            return None
        cell = graph.cell[0].detach().cpu().numpy()
        # whoever makes a graph by hand need not say which vectors are periodic: those there are
        pbc: Bools = (cell != 0.0).max(axis=1)
        if graph.pbc is not None:
            pbc = graph.pbc[0].cpu().numpy()
        return cls._of(cell, pbc)

    @classmethod
    def _of(cls, cell: Floats, pbc: Bools) -> Lattice | None:
        return cls(vectors=np.where(pbc[:, None], cell, 0.0)) if pbc.any() else None

    @cached_property
    def pbc(self) -> Bools:
        """Periodic directions, [3]."""
        return (self.vectors != 0.0).max(axis=1)

    @cached_property
    def inverse(self) -> Floats:
        """Pseudo-inverse of the vectors: ``x @ inverse`` are fractional coordinates, 0 if open."""
        return np.linalg.pinv(self.vectors).astype(np.float64)

    @property
    def box(self) -> Floats:
        """The vectors, [3, 3], completed by unit vectors at right angles along open directions."""
        found = self.vectors.copy()
        if not self.pbc.all():
            _, _, basis = np.linalg.svd(found[self.pbc])
            found[~self.pbc] = basis[self.pbc.sum() :]
        return found

    def nearest(self, vectors: Floats) -> Floats:
        """Returns n so that ``vectors + n @ cell`` are shortest, [n_vectors, 3], whole numbers."""
        shifts = -np.rint(vectors @ self.inverse)
        images = vectors + shifts @ self.vectors
        # a vector shorter than half the distance of lattice planes has no shorter image
        planes = 1.0 / np.linalg.norm(self.inverse[:, self.pbc], axis=0).max()
        long = np.flatnonzero(np.einsum("ij,ij->i", images, images) >= (0.499 * planes) ** 2)
        if long.size:
            steps = itertools.product(*((0.0, -1.0, 1.0) if p else (0.0,) for p in self.pbc))
            table = np.array(list(steps))
            images = images[long][:, None, :] + (table @ self.vectors)[None]
            shifts[long] += table[np.linalg.norm(images, axis=2).round(9).argmin(axis=1)]
        return shifts

    def rounded(self, vectors: Floats) -> Floats:
        """Returns the lattice vectors in `vectors`, [n_vectors, 3], whole numbers."""
        return np.rint(vectors @ self.inverse)

    def deformation(self, later: Lattice) -> Floats:
        """Returns F, [3, 3], with ``vectors @ F = later.vectors``, which is 1 across open ones."""
        return np.eye(3) + self.inverse @ (later.vectors - self.vectors)

    def same_directions(self, other: Lattice) -> bool:
        """Tells whether the same directions are periodic."""
        return bool((self.pbc == other.pbc).all())


class Continuity:
    """Finds the image of each atom that makes molecules whole.

    Whole molecules stay next to where they were in the structure before, so that what was
    prepared for that one serves this one, too, if just the wrapping differs.

    Args:
        n_atoms: of the structure.
        bonds: [n_bonds, 2].
    """

    def __init__(self, n_atoms: int, bonds: Ints) -> None:
        self._n_atoms, self._bonds = n_atoms, bonds
        self._last: tuple[Floats, Lattice] | None = None

    def shifts(self, positions: Floats, lattice: Lattice) -> Floats:
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
    def _tree(self) -> tuple[Ints, Ints]:
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


TOLERANCE = 1e-3
"""Å; around a closed ring of bonds the vectors add up to nothing, or to a lattice vector."""


def follow_bonds(system: System, bonds: Ints, vectors: Floats) -> Floats:
    """Returns positions, [n_atoms, 3], Å, with the atoms of molecules along given bond vectors.

    Every molecule stays where its lowest atom is.

    Raises:
        GeometryError: a molecule is bound to its own periodic image.
    """
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
