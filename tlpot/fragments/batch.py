"""All fragments of a structure as graphs, and the linear map from the structure to them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from vesin import NeighborList

from tlpot.energy import EnergyModel, layout_of
from tlpot.errors import GeometryError
from tlpot.fragments.fragment import Fragment
from tlpot.graph import AtomGraph, Layout, flat_graph
from tlpot.models import BlockEnergies
from tlpot.neighbors import CLOSEST, Neighbors

if TYPE_CHECKING:
    from scipy import sparse


class FragmentMap:
    """All fragments of a structure, one after the other, as one batch of atoms.

    P has one entry of 1 in the row of a real atom, and 1 − g at the host and g at the atom
    that is gone in the row of a cap. Its rows sum to 1, so neither net force nor torque arise.
    S holds the periodic images of the rows in whole numbers, so strain commutes with the map.

    Args:
        fragments: at least one.
        n_atoms: of the structure.

    Attributes:
        fragments: as given.
        n_atoms: of the structure.
        atomic_numbers: [n_rows], int64.
        fragment_idx: [n_rows], int64, non-decreasing.
        host: [n_rows], the atom of the structure that a row belongs to: itself, or the atom
            that a cap is bound to.
        replaced: [n_rows], the atom that a cap replaces; the atom itself for real atoms.
        ratio: [n_rows], g; 0 for real atoms.
        is_cap: [n_rows], bool.
        shifts: [n_rows, 3], S; None if all fragments are at home.
        charge: [n_fragments], e.
        sizes: [n_fragments].
    """

    def __init__(self, fragments: Sequence[Fragment], n_atoms: int) -> None:
        self.fragments, self.n_atoms = tuple(fragments), n_atoms
        host = np.concatenate([np.concatenate([f.real, f.host]) for f in fragments])
        replaced = np.concatenate([np.concatenate([f.real, f.replaced]) for f in fragments])
        ratio = np.concatenate([np.append(np.zeros(len(f.real)), f.ratio) for f in fragments])
        cap = np.concatenate([np.arange(len(f)) >= len(f.real) for f in fragments])
        self.sizes = np.array([len(f) for f in fragments], dtype=np.int64)
        numbers = np.concatenate([f.atomic_numbers for f in fragments])
        self.atomic_numbers = torch.from_numpy(numbers)
        self.fragment_idx = torch.from_numpy(np.repeat(np.arange(len(fragments)), self.sizes))
        self.host, self.replaced = torch.from_numpy(host), torch.from_numpy(replaced)
        self.ratio, self.is_cap = torch.from_numpy(ratio), torch.from_numpy(cap)
        self.shifts: Tensor | None = None
        if any(f.shifts is not None for f in fragments):
            none = np.zeros((0, 3))
            images = [np.zeros((len(f), 3)) if f.shifts is None else f.shifts for f in fragments]
            self.shifts = torch.from_numpy(np.concatenate([none, *images]))
        self.charge = torch.tensor([f.charge for f in fragments], dtype=torch.int64)

    @property
    def n_rows(self) -> int:
        """Number of atoms in all fragments."""
        return len(self.atomic_numbers)

    def positions(self, whole: Tensor, cell: Tensor | None = None) -> Tensor:
        """Returns P X + S cell, [n_rows, 3], differentiable.

        Args:
            whole: X, [n_atoms, 3], Å, of whole molecules.
            cell: [3, 3], Å; None in vacuum.
        """
        device = whole.device
        found = whole.index_select(0, self.host.to(device))
        rows = self.is_cap.nonzero()[:, 0].to(device)
        away = whole.index_select(0, self.replaced.to(device)[rows]) - found.index_select(0, rows)
        found = found.index_add(0, rows, self.ratio.to(device)[rows][:, None] * away)
        if self.shifts is None or cell is None:
            return found
        return found + self.shifts.to(device) @ cell

    def matrix(self) -> sparse.csr_array:
        """Returns P, [n_rows, n_atoms]."""
        from scipy import sparse

        rows = np.arange(self.n_rows)
        cap = self.is_cap.numpy()
        host, replaced, ratio = self.host.numpy(), self.replaced.numpy(), self.ratio.numpy()
        return sparse.coo_array(
            (
                np.concatenate([1.0 - ratio, ratio[cap]]),
                (np.concatenate([rows, rows[cap]]), np.concatenate([host, replaced[cap]])),
            ),
            shape=(self.n_rows, self.n_atoms),
        ).tocsr()

    def collect(self, rows: Tensor) -> Tensor:
        """Sums what rows have onto the atoms that they belong to: [n_rows] to [n_atoms]."""
        return rows.new_zeros(self.n_atoms).index_add(0, self.host.to(rows.device), rows)


CHUNK = 20_000
"""Atoms in a graph; more fragments than that are evaluated one part after the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pairs:
    """Pairs within cutoff + skin of fragments as they were when these were searched."""

    positions: NDArray[np.float64]
    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]


class FragmentBatch:
    """Turns positions of all fragment atoms into graphs, and graphs into energies.

    There are no pairs between fragments. Pairs are searched with a skin, as in
    `tlpot.verlet_list.VerletList`, and filtered on every call.

    Args:
        assembly: of the fragments.
        skin: Å.
        chunk: atoms in a graph.
    """

    def __init__(self, assembly: FragmentMap, *, skin: float = 0.5, chunk: int = CHUNK) -> None:
        self.assembly, self.skin = assembly, skin
        self._ends = np.cumsum(assembly.sizes)
        self._parts = list(self._split(chunk))
        self._pairs: dict[tuple[float, int], _Pairs] = {}

    def _split(self, chunk: int) -> Iterator[tuple[int, int]]:
        first = 0
        starts = self._ends - self.assembly.sizes
        while first < len(self._ends):
            last = int(np.searchsorted(self._ends, starts[first] + chunk, side="right"))
            last = max(last, first + 1)
            yield first, last
            first = last

    def energies(
        self, model: EnergyModel, positions: Tensor, *, first_order: bool, charge: bool = True
    ) -> Tensor:
        """Returns the energy of each row, [n_rows], eV, float64, differentiable in `positions`.

        Args:
            model: of all fragments.
            positions: [n_rows, 3], Å.
            first_order: one derivative at most will be taken, so each part may be differentiated
                here and then and forgotten.
            charge: tell the model the charge of each fragment.
        """
        several = len(self._parts) > 1
        found = []
        for part, (first, last) in enumerate(self._parts):
            rows = self._rows(first, last)
            own = positions[rows]
            if first_order and several and positions.requires_grad:
                found.append(self._eager(model, own, part, charge))
            else:
                graph = self._graph(model, own, part, first_order, charge)
                found.append(model.atomic_energies(graph))
        return torch.cat(found)

    def _rows(self, first: int, last: int) -> slice:
        begin = int(self._ends[first] - self.assembly.sizes[first])
        return slice(begin, int(self._ends[last - 1]))

    def _eager(self, model: EnergyModel, own: Tensor, part: int, charge: bool) -> Tensor:
        with torch.enable_grad():
            leaf = own.detach().requires_grad_(True)
            graph = self._graph(model, leaf, part, True, charge)
            energies = model.atomic_energies(graph)
            (gradient,) = torch.autograd.grad(energies.sum(), leaf, materialize_grads=True)
        result: Tensor = BlockEnergies.apply(
            own, energies.detach(), gradient, graph.system_idx, graph.n_systems
        )
        return result

    def _graph(
        self, model: EnergyModel, own: Tensor, part: int, first_order: bool, charge: bool
    ) -> AtomGraph:
        first, last = self._parts[part]
        rows = self._rows(first, last)
        assembly = self.assembly
        idx = assembly.fragment_idx[rows] - first
        where = own.detach().cpu().numpy()
        pairs = self._within(part, where, idx.numpy(), model.cutoff)
        layout: Layout = layout_of(model)
        charges = assembly.charge[first:last]
        graph = flat_graph(
            positions=torch.from_numpy(where),
            atomic_numbers=assembly.atomic_numbers[rows],
            system_idx=idx,
            cell=None,
            pairs=pairs,
            charge=charges if charge else torch.zeros_like(charges),
            spin=torch.ones_like(charges),
            cutoff=model.cutoff,
            layout=layout,
        ).to(own.device)
        return replace(graph, positions=own, first_order=first_order)

    def _within(
        self, part: int, where: NDArray[np.float64], idx: NDArray[np.int64], cutoff: float
    ) -> Neighbors:
        key = (cutoff, part)
        found = self._pairs.get(key)
        if found is None or not _covers(found.positions, where, self.skin):
            found = self._pairs[key] = _search(where, idx, cutoff + self.skin)
        vectors = where.take(found.neighbor, axis=0) - where.take(found.center, axis=0)
        squares = np.einsum("ij,ij->i", vectors, vectors)
        if len(squares) and not squares.min() >= CLOSEST**2:
            self._refuse(part, found, squares)
        inside = squares < cutoff**2
        return Neighbors(
            center=found.center[inside], neighbor=found.neighbor[inside], shifts=np.zeros((0, 3))
        )

    def _refuse(self, part: int, found: _Pairs, squares: NDArray[np.float64]) -> None:
        worst = int(np.argmin(np.where(np.isnan(squares), -1.0, squares)))
        offset = self._rows(*self._parts[part]).start
        rows = offset + np.array([found.center[worst], found.neighbor[worst]])
        hosts = self.assembly.host[torch.from_numpy(rows)].tolist()
        caps = self.assembly.is_cap[torch.from_numpy(rows)].tolist()
        names = [
            f"the cap on atom {h}" if c else f"atom {h}" for h, c in zip(hosts, caps, strict=True)
        ]
        raise GeometryError(
            f"in a fragment, {names[0]} and {names[1]} are {squares[worst] ** 0.5:.3f} Å apart; "
            "has the structure exploded, or do chains overlap?"
        )


def _covers(old: NDArray[np.float64], new: NDArray[np.float64], skin: float) -> bool:
    moved = new - old
    return bool(np.einsum("ij,ij->i", moved, moved).max(initial=0.0) <= (0.5 * skin) ** 2)


def _search(where: NDArray[np.float64], idx: NDArray[np.int64], reach: float) -> _Pairs:
    finder = NeighborList(cutoff=reach, full_list=True, sorted=True)
    sizes = np.bincount(idx)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    box = np.zeros((3, 3))
    centers, neighbors = [], []
    for begin, end in itertools.pairwise(offsets):
        points = np.ascontiguousarray(where[begin:end])
        i, j = finder.compute(points=points, box=box, periodic=False, quantities="ij")
        # a copy is made by the sum; vesin reuses its memory
        centers.append(i.astype(np.int64) + begin)
        neighbors.append(j.astype(np.int64) + begin)
    return _Pairs(
        positions=where.copy(), center=np.concatenate(centers), neighbor=np.concatenate(neighbors)
    )
