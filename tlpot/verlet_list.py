"""Neighbour pairs that are searched now and then, and filtered on every call."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from tlpot.errors import ConfigError
from tlpot.graph import AtomGraph, Layout, join_graphs
from tlpot.neighbors import CLOSEST, Neighbors, neighbor_list
from tlpot.numbers import Bools, Floats
from tlpot.system import System
from tlpot.torch_mode import plain_torch

_ONES = np.ones(3)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidates:
    """Pairs within cutoff + skin of a structure as it was when they were searched.

    Attributes:
        frame: elements, periodicity and cell of that structure, see `_frame`.
        positions: [n_atoms, 3], of that structure, Å.
        pairs: sorted by center, neighbor and shift.
        offsets: [n_pairs, 3], ``shifts @ cell``, Å; None when nothing is periodic.
        skin: Å.
    """

    frame: tuple[bytes, ...]
    positions: Floats
    skin: float
    pairs: Neighbors
    offsets: Floats | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Last:
    """The previous graph.

    Attributes:
        graph: on the device.
        inside: which candidates it has, one byte each.
        state: charge and spin.
    """

    graph: AtomGraph
    inside: bytes
    state: tuple[int, int]


class VerletList:
    """Turns one structure after another into graphs, as molecular dynamics needs it.

    Pairs within cutoff + skin are searched once and kept while no atom has moved by more than
    skin / 2, which is when a pair from beyond could have come within the cutoff, and while
    elements, cell and periodicity stay. Each call keeps those within the cutoff. While these
    are the very same, as is the rule in a molecule, only the positions of the previous graph
    are exchanged. From 9 atoms to 5000 a graph then takes a fifth of the time of a fresh one,
    and half of it when a pair came or went; a search with skin takes twice as long, so the
    list pays from the third step on. Under a barostat the cell moves in every step, and the
    search leaves out the skin.

    Pairs always come in the same order, so a graph depends on the structure alone, to the
    last bit, and not on what was asked before.

    Args:
        cutoff: Å.
        skin: Å; 0 searches whenever anything moves.
        layout: see `tlpot.graph.build_graph`.
        device: of the graphs.

    Raises:
        ConfigError: the skin is negative or not a number.
    """

    def __init__(
        self,
        cutoff: float,
        skin: float = 0.5,
        *,
        layout: Layout = "auto",
        device: torch.device | str = "cpu",
    ) -> None:
        if not 0.0 <= skin < np.inf:
            raise ConfigError(f"skin is {skin} Å, expected 0 or more; 0.5 suits most uses")
        self.cutoff, self.skin, self.layout, self.device = cutoff, skin, layout, device
        self.n_searches = 0
        self._candidates: _Candidates | None = None
        self._last: _Last | None = None

    def graph(self, system: System) -> AtomGraph:
        """Returns the graph of a structure.

        Raises:
            GeometryError: the structure is unusable (see `tlpot.neighbors.neighbor_list`).
        """
        candidates = self._candidates
        if candidates is None or not _covers(candidates, system):
            candidates = self._candidates = self._search(system)
        inside = self._within(candidates, system)
        with plain_torch():  # what is kept must serve callers in any mode
            return self._graph(candidates, system, inside)

    def _graph(self, candidates: _Candidates, system: System, inside: Bools) -> AtomGraph:
        pattern, state = inside.tobytes(), (system.charge, system.spin)
        last = self._last
        if last is not None and (last.inside, last.state) == (pattern, state):
            positions = torch.from_numpy(system.positions.copy()).to(self.device)
            return replace(last.graph, positions=positions)
        chosen = np.flatnonzero(inside)
        pairs = Neighbors(
            center=candidates.pairs.center.take(chosen),
            neighbor=candidates.pairs.neighbor.take(chosen),
            shifts=candidates.pairs.shifts.take(chosen, axis=0),
        )
        graph = join_graphs([system], [pairs], self.cutoff, layout=self.layout).to(self.device)
        self._last = _Last(graph=graph, inside=pattern, state=state)
        return graph

    def _search(self, system: System) -> _Candidates:
        old, self._candidates, self._last = self._candidates, None, None
        frame = _frame(system)
        skin = self.skin if old is None or old.frame[2] == frame[2] else 0.0
        found = neighbor_list(system, self.cutoff + skin)
        self.n_searches += 1
        order = _order(found, len(system))
        pairs = Neighbors(
            center=found.center[order], neighbor=found.neighbor[order], shifts=found.shifts[order]
        )
        return _Candidates(
            frame=frame,
            positions=system.positions.copy(),
            skin=skin,
            pairs=pairs,
            offsets=pairs.shifts @ system.cell if system.pbc.any() else None,
        )

    def _within(self, candidates: _Candidates, system: System) -> Bools:
        pairs = candidates.pairs
        # take and dot are several times faster than indexing with an array and einsum
        vectors = system.positions.take(pairs.neighbor, axis=0)
        vectors -= system.positions.take(pairs.center, axis=0)
        if candidates.offsets is not None:
            vectors += candidates.offsets
        vectors *= vectors
        squares = vectors.dot(_ONES)
        if len(squares) and squares.min() < CLOSEST**2:
            neighbor_list(system, self.cutoff)  # raises, and names the atoms
        return squares < self.cutoff**2


def _covers(candidates: _Candidates, system: System) -> bool:
    if candidates.frame != _frame(system):
        return False
    moved = system.positions - candidates.positions
    moved *= moved
    furthest = moved.dot(_ONES).max()
    return bool(furthest <= (0.5 * candidates.skin) ** 2)  # false for NaN: the search reports it


def _frame(system: System) -> tuple[bytes, ...]:
    """All that must stay: elements (and their number), periodicity and cell, compared as bytes."""
    return (system.atomic_numbers.tobytes(), system.pbc.tobytes(), system.cell.tobytes())


def _order(pairs: Neighbors, n_atoms: int) -> NDArray[np.intp]:
    """Sorts by center, neighbor and shift, through one key, which is faster than lexsort."""
    shifts = pairs.shifts.astype(np.int64)
    span = 2 * int(np.abs(shifts).max(initial=0)) + 1
    if n_atoms**2 * span**3 >= 1 << 63:  # with an atom that is very many cells away
        return np.lexsort((*shifts.T[::-1], pairs.neighbor, pairs.center))
    key = pairs.center * n_atoms + pairs.neighbor
    for axis in range(3):
        key = key * span + shifts[:, axis]
    return np.argsort(key)
