"""Neighbour pairs that are searched now and then, and filtered on every call."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import ConfigError
from tlpot.graph import AtomGraph, Layout, join_graphs
from tlpot.neighbors import CLOSEST, Neighbors, neighbor_list
from tlpot.system import System


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidates:
    """Pairs within cutoff + skin of a structure as it was when they were searched.

    Attributes:
        system: that structure, with arrays of its own.
        pairs: sorted by center, neighbor and shift.
        offsets: [n_pairs, 3], ``shifts @ cell``, Å; None when nothing is periodic.
        skin: Å.
    """

    system: System
    skin: float
    pairs: Neighbors
    offsets: NDArray[np.float64] | None


class VerletList:
    """Turns one structure after another into graphs, as molecular dynamics needs it.

    Pairs within cutoff + skin are searched once and kept while no atom has moved by more than
    skin / 2, which is when a pair from beyond could have come within the cutoff, and while
    elements, cell and periodicity stay. Each call keeps those within the cutoff. A graph then
    takes half the time of a fresh one, from 9 atoms to 5000, and a search with skin twice as
    long, so the list pays from the third step on. Under a barostat the cell moves in every
    step, and the search leaves out the skin.

    Pairs always come in the same order, so a graph depends on the structure alone, to the
    last bit, and not on what was asked before.

    Args:
        cutoff: Å.
        skin: Å; 0 searches whenever anything moves.
        layout: see `tlpot.graph.build_graph`.

    Raises:
        ConfigError: the skin is negative or not a number.
    """

    def __init__(self, cutoff: float, skin: float = 0.5, *, layout: Layout = "auto") -> None:
        if not 0.0 <= skin < np.inf:
            raise ConfigError(f"skin is {skin} Å, expected 0 or more; 0.5 suits most uses")
        self.cutoff, self.skin, self.layout = cutoff, skin, layout
        self.n_searches = 0
        self._candidates: _Candidates | None = None

    def graph(self, system: System) -> AtomGraph:
        """Returns the graph of a structure, on the CPU.

        Raises:
            GeometryError: the structure is unusable (see `tlpot.neighbors.neighbor_list`).
        """
        candidates = self._candidates
        if candidates is None or not _covers(candidates, system):
            candidates = self._candidates = self._search(system)
        pairs = self._within(candidates, system)
        return join_graphs([system], [pairs], self.cutoff, layout=self.layout)

    def _search(self, system: System) -> _Candidates:
        old, self._candidates = self._candidates, None
        strained = old is not None and not np.array_equal(old.system.cell, system.cell)
        skin = 0.0 if strained else self.skin
        found = neighbor_list(system, self.cutoff + skin)
        self.n_searches += 1
        order = _order(found, len(system))
        pairs = Neighbors(
            center=found.center[order], neighbor=found.neighbor[order], shifts=found.shifts[order]
        )
        kept = replace(
            system,
            atomic_numbers=system.atomic_numbers.copy(),
            positions=system.positions.copy(),
            cell=system.cell.copy(),
            pbc=system.pbc.copy(),
        )
        offsets = pairs.shifts @ system.cell if system.pbc.any() else None
        return _Candidates(system=kept, skin=skin, pairs=pairs, offsets=offsets)

    def _within(self, candidates: _Candidates, system: System) -> Neighbors:
        pairs = candidates.pairs
        # np.take is several times faster than indexing with an array
        vectors = np.take(system.positions, pairs.neighbor, axis=0)
        vectors -= np.take(system.positions, pairs.center, axis=0)
        if candidates.offsets is not None:
            vectors += candidates.offsets
        squares = np.einsum("ij,ij->i", vectors, vectors)
        if squares.min(initial=np.inf) < CLOSEST**2:
            neighbor_list(system, self.cutoff)  # raises, and names the atoms
        inside = np.flatnonzero(squares < self.cutoff**2)
        return Neighbors(
            center=np.take(pairs.center, inside),
            neighbor=np.take(pairs.neighbor, inside),
            shifts=np.take(pairs.shifts, inside, axis=0),
        )


def _covers(candidates: _Candidates, system: System) -> bool:
    old = candidates.system
    if not (
        np.array_equal(old.atomic_numbers, system.atomic_numbers)
        and old.positions.shape == system.positions.shape
        and np.array_equal(old.pbc, system.pbc)
        and np.array_equal(old.cell, system.cell)
    ):
        return False
    moved = system.positions - old.positions
    furthest = np.einsum("ij,ij->i", moved, moved).max()
    return bool(furthest <= (0.5 * candidates.skin) ** 2)  # false for NaN: the search reports it


def _order(pairs: Neighbors, n_atoms: int) -> NDArray[np.intp]:
    """Sorts by center, neighbor and shift, through one key, which is faster than lexsort."""
    shifts = pairs.shifts.astype(np.int64)
    span = 2 * int(np.abs(shifts).max(initial=0)) + 1
    key = pairs.center * n_atoms + pairs.neighbor
    for axis in range(3):
        key = key * span + shifts[:, axis]
    return np.argsort(key)
