"""The periodic directions of a structure."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tlpot.graph import AtomGraph
from tlpot.system import System


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Lattice vectors along one, two or three directions.

    Attributes:
        vectors: [3, 3], rows are lattice vectors, Å; zeros along open directions.
    """

    vectors: NDArray[np.float64]

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
        pbc: NDArray[np.bool_] = (cell != 0.0).max(axis=1)
        if graph.pbc is not None:
            pbc = graph.pbc[0].cpu().numpy()
        return cls._of(cell, pbc)

    @classmethod
    def _of(cls, cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> Lattice | None:
        return cls(vectors=np.where(pbc[:, None], cell, 0.0)) if pbc.any() else None

    @cached_property
    def pbc(self) -> NDArray[np.bool_]:
        """Periodic directions, [3]."""
        found: NDArray[np.bool_] = (self.vectors != 0.0).max(axis=1)
        return found

    @cached_property
    def inverse(self) -> NDArray[np.float64]:
        """Pseudo-inverse of the vectors: ``x @ inverse`` are fractional coordinates, 0 if open."""
        return np.linalg.pinv(self.vectors).astype(np.float64)

    @property
    def box(self) -> NDArray[np.float64]:
        """The vectors, [3, 3], completed by unit vectors at right angles along open directions."""
        found = self.vectors.copy()
        if not self.pbc.all():
            _, _, basis = np.linalg.svd(found[self.pbc])
            found[~self.pbc] = basis[self.pbc.sum() :]
        return found

    def nearest(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
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

    def rounded(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the lattice vectors in `vectors`, [n_vectors, 3], whole numbers."""
        return np.rint(vectors @ self.inverse)

    def deformation(self, later: Lattice) -> NDArray[np.float64]:
        """Returns F, [3, 3], with ``vectors @ F = later.vectors``, which is 1 across open ones."""
        found: NDArray[np.float64] = np.eye(3) + self.inverse @ (later.vectors - self.vectors)
        return found

    def same_directions(self, other: Lattice) -> bool:
        """Tells whether the same directions are periodic."""
        return bool((self.pbc == other.pbc).all())
