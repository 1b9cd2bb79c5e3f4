"""A structure made ready for a scheme: its fragments as graphs, kept while they stay the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor
from vesin import NeighborList

from tlpot.bond_thresholds import BROKEN, RADII
from tlpot.energy import EnergyModel, layout_of
from tlpot.errors import CalculationError, FragmentError, GeometryError
from tlpot.fragments.expansion import Expansion, PairWeights
from tlpot.fragments.fragment import Cutter, Fragment
from tlpot.fragments.schemes.registry import Scheme
from tlpot.graph import AtomGraph, Layout, flat_graph
from tlpot.models import BlockEnergies
from tlpot.neighbors import CLOSEST, Neighbors
from tlpot.numbers import Floats, Ints
from tlpot.topology import Continuity, Lattice, Topology

if TYPE_CHECKING:
    from scipy import sparse

CHUNK = 20_000
"""Atoms in a graph; more fragments than that are evaluated one part after the other."""

SKIN = 0.3
"""Å."""


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

        X is `whole`, [n_atoms, 3], Å, of whole molecules; the cell is [3, 3], Å, None in vacuum.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pairs:
    """Pairs within cutoff + skin of fragments as they were when these were searched."""

    positions: Floats
    center: Ints
    neighbor: Ints


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

        Raises:
            FragmentError: a program fails for a fragment, whose index is given.
        """
        several = len(self._parts) > 1
        found = []
        for part, (first, last) in enumerate(self._parts):
            rows = self._rows(first, last)
            own = positions[rows]
            try:
                if first_order and several and positions.requires_grad:
                    found.append(self._eager(model, own, part, charge))
                else:
                    graph = self._graph(model, own, part, first_order, charge)
                    found.append(model.atomic_energies(graph))
            except CalculationError as error:
                raise FragmentError(str(error), first + error.index) from error
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
        return BlockEnergies.apply(
            own, energies.detach(), gradient, graph.system_idx, graph.n_systems
        )

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

    def _within(self, part: int, where: Floats, idx: Ints, cutoff: float) -> Neighbors:
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

    def _refuse(self, part: int, found: _Pairs, squares: Floats) -> None:
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


def _covers(old: Floats, new: Floats, skin: float) -> bool:
    moved = new - old
    return bool(np.einsum("ij,ij->i", moved, moved).max(initial=0.0) <= (0.5 * skin) ** 2)


def _search(where: Floats, idx: Ints, reach: float) -> _Pairs:
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


@dataclass(frozen=True, kw_only=True)
class Partition:
    """The fragments of a structure at some positions.

    Attributes:
        expansion: fragments and coefficients.
        batch: the fragments as molecules.
        weights: of the pair terms, None if there are none.
    """

    expansion: Expansion
    batch: FragmentBatch
    weights: PairWeights | None

    def coefficients(self, positions: Tensor, cell: Tensor | None = None) -> Tensor:
        """Returns the coefficient of each fragment, [n_fragments], differentiable.

        Positions are those of whole molecules, [n_atoms, 3], Å; the cell is [3, 3], Å, None in
        vacuum.
        """
        device = positions.device
        found = torch.from_numpy(self.expansion.base).to(device)
        terms = self.expansion.pairs
        if terms is None or self.weights is None:
            return found
        weights = self.weights(positions, cell)
        of_term = weights.index_select(0, torch.from_numpy(terms.weight).to(device))
        strength = torch.from_numpy(terms.sign).to(device) * of_term
        some = torch.from_numpy(np.flatnonzero(terms.meet >= 0)).to(device)
        for index, part in (
            (terms.union, strength),
            (terms.left, -strength),
            (terms.right, -strength),
        ):
            found = found.index_add(0, torch.from_numpy(index).to(device), part)
        meet = torch.from_numpy(terms.meet).to(device)[some]
        return found.index_add(0, meet, strength[some])


class FragmentedStructure:
    """Fragments of one structure by one scheme.

    The list of fragments is made anew when an atom has moved by half of `skin` since it was
    made, and kept otherwise; a scheme with a hard list makes it anew for all positions. What
    the list holds beyond the reach of a smooth scheme has weight 0, so the energy depends on
    the positions alone, but for rounding. A strained cell uses up the skin, too, and atoms that
    were moved to another image of theirs do not.

    Args:
        topology: of the structure.
        scheme: the scheme.
        skin: Å, of the list of fragments.
        pair_skin: Å, of the neighbour search within fragments.
    """

    def __init__(
        self, topology: Topology, scheme: Scheme, *, skin: float = SKIN, pair_skin: float = 0.5
    ) -> None:
        self.topology, self.scheme = topology, scheme
        self.skin, self.pair_skin = skin, pair_skin
        self.cutter = Cutter(topology)
        self.n_lists = 0
        self._last: Partition | None = None
        self._where: Floats | None = None
        self._lattice: Lattice | None = None
        self._continuity = Continuity(len(topology.atomic_numbers), topology.bonds)

    def images(self, positions: Floats, lattice: Lattice | None) -> Floats | None:
        """Returns n for which molecules at ``positions + n @ cell`` are whole, [n_atoms, 3].

        None if they are whole as they are.
        """
        if lattice is None:
            return None
        found = self._continuity.shifts(positions, lattice)
        return found if found.any() else None

    def whole(self, positions: Floats, lattice: Lattice | None) -> Floats:
        """Returns positions with molecules in one piece, [n_atoms, 3], Å."""
        found = self.images(positions, lattice)
        return (
            positions if found is None or lattice is None else positions + found @ lattice.vectors
        )

    def partition(self, positions: Floats, lattice: Lattice | None = None) -> Partition:
        """Returns the fragments at some positions, [n_atoms, 3], Å, of whole molecules."""
        if self._last is None or not self._covers(positions, lattice):
            skin = self.skin if self.scheme.smooth else 0.0
            expansion = self.scheme.expand(self.cutter, positions, skin=skin, lattice=lattice)
            if self._last is not None and _same(self._last.expansion, expansion):
                expansion = self._last.expansion
                batch = self._last.batch
            else:
                fragments = [self.cutter.cut(units) for units in expansion.sets]
                assembly = FragmentMap(fragments, len(self.topology.atomic_numbers))
                batch = FragmentBatch(assembly, skin=self.pair_skin)
            weights = None
            if expansion.pairs is not None:
                weights = PairWeights(self.topology, expansion.pairs, positions, skin, lattice)
            self._last = Partition(expansion=expansion, batch=batch, weights=weights)
            self._where, self._lattice = positions.copy(), lattice
            self.n_lists += 1
        return self._last

    def _covers(self, positions: Floats, lattice: Lattice | None) -> bool:
        reach, old = self.scheme.reach, self._lattice
        if (lattice is None) != (old is None):
            return False
        if reach is None:
            return True
        before, skin = self._where, self.skin if self.scheme.smooth else 0.0
        assert before is not None
        if lattice is not None and old is not None:
            if not lattice.same_directions(old):
                return False
            if not np.array_equal(lattice.vectors, old.vectors):
                # strain moves atoms that are far from each other most, but not their neighbours
                deformation = old.deformation(lattice)
                stretch = np.abs(np.linalg.svd(deformation, compute_uv=False) - 1.0).max()
                before, skin = before @ deformation, skin - float(stretch) * (reach + skin)
        moved = positions - before
        furthest = float(np.einsum("ij,ij->i", moved, moved).max())
        if not self.scheme.smooth:
            return furthest == 0.0 and skin == 0.0
        return skin >= 0.0 and furthest <= (0.5 * skin) ** 2

    def broken_bonds(self, positions: Floats) -> Ints:
        """Returns the bonds that are far too long, [n_broken, 2], in whole molecules."""
        bonds = self.topology.bonds
        vectors = positions[bonds[:, 0]] - positions[bonds[:, 1]]
        radii = RADII[self.topology.atomic_numbers]
        limit = BROKEN * (radii[bonds[:, 0]] + radii[bonds[:, 1]])
        return bonds[~(np.einsum("ij,ij->i", vectors, vectors) < limit**2)]

    def check_bonds(self, positions: Floats, *, where: str = "") -> None:
        """Checks that the structure still has the bonds that its fragments were made from.

        Positions are those of whole molecules, [n_atoms, 3], Å; `where` is for the message.

        Raises:
            GeometryError: a bond of a whole molecule is broken; the first three are named.
        """
        broken = self.broken_bonds(positions)
        if len(broken):
            symbols = [chemical_symbols[z] for z in self.topology.atomic_numbers]
            names = ", ".join(
                f"{symbols[i]}{i}–{symbols[j]}{j} "
                f"({np.linalg.norm(positions[i] - positions[j]):.2f} Å)"
                for i, j in broken[:3].tolist()
            )
            more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
            if where:
                raise GeometryError(
                    f"{where}: bonds of the first frame, which the fragments are made from, are "
                    f"broken: {names}{more}. Give frames of one molecule with the same bonds; put "
                    "this one into a file of its own, or leave it out"
                )
            raise GeometryError(
                f"bonds that the fragments were made from are broken: {names}{more}. If this is "
                "another molecule, make a new calculator; in dynamics, the model or the time step "
                "is not good enough"
            )


def _same(old: Expansion, new: Expansion) -> bool:
    if old.sets != new.sets or not np.array_equal(old.base, new.base):
        return False
    if old.pairs is None or new.pairs is None:
        return old.pairs is new.pairs
    return (old.pairs.first, old.pairs.second) == (new.pairs.first, new.pairs.second) and all(
        np.array_equal(getattr(old.pairs, name), getattr(new.pairs, name))
        for name in ("sign", "union", "left", "right", "meet", "weight")
    )
