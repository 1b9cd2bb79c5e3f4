"""The one graph type: structures with their neighbour pairs, as tensors, and sums over it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from tlpot.errors import ConfigError, MissingExtraError, nearest
from tlpot.neighbors import Neighbors, neighbor_list
from tlpot.numbers import Floats, Ints
from tlpot.system import System
from tlpot.torch_mode import plain_torch, usable


class SegmentSum(Protocol):
    """Sums rows of `values` [n, ...] into `n_segments` rows by `index` [n]."""

    def __call__(self, values: Tensor, index: Tensor, n_segments: int) -> Tensor:
        """Returns the sums, [n_segments, ...]."""
        ...


def segment_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """Sums rows of `values` [n, ...] into [n_segments, ...]: out[k] = Σ_{index[i]=k} values[i]."""
    out = values.new_zeros((n_segments, *values.shape[1:]))
    return out.index_add(0, index, values)


def segment_sum_backend(name: str) -> SegmentSum:
    """Returns the backend called `name`: ``native`` (index_add) or ``torch_scatter``.

    Raises:
        ConfigError: no such backend.
        MissingExtraError: torch-scatter is not installed.
    """
    if name == "native":
        return segment_sum
    if name == "torch_scatter":
        if importlib.util.find_spec("torch_scatter") is None:
            raise MissingExtraError("torch-scatter", "scatter", "segment_sum='torch_scatter'")
        return torch_scatter_sum
    raise ConfigError(
        f"unknown segment_sum backend {name!r}{nearest(name, ['native', 'torch_scatter'])}"
    )


def torch_scatter_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """The same as `segment_sum`, by torch-scatter's kernel."""
    from torch_scatter import scatter_sum

    total: Tensor = scatter_sum(values, index, dim=0, dim_size=n_segments)
    return total


MOST_BLOCKS = 3
"""More of them save no pairs worth the products."""

PAIRS_IN_BLOCK = 512
"""Fewer pairs than this are not worth a matrix product of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """Atoms of similar numbers of neighbours together, each with the same number of slots.

    Attributes:
        sizes: (atoms, slots of each) of every block, in the order of the pairs.
        place: [n_atoms], where an atom comes among the blocks; None if they hold the atoms in
            their own order.
    """

    sizes: tuple[tuple[int, int], ...]
    place: Tensor | None

    @property
    def n_slots(self) -> int:
        """Number of slots in all blocks together."""
        return sum(n_atoms * slots for n_atoms, slots in self.sizes)

    def to(self, device: torch.device | str) -> Blocks:
        """Returns the same on another device."""
        return self if self.place is None else replace(self, place=self.place.to(device))


@dataclass(frozen=True, kw_only=True, slots=True)
class Slots:
    """Where each pair goes in the blocks, as arrays.

    Attributes:
        blocks: their shapes.
        center: [n_slots], the atom that a slot belongs to.
        of_pair: [n_pairs], the slot of each pair.
    """

    blocks: Blocks
    center: Ints
    of_pair: Ints


def make_slots(center: Ints, n_atoms: int) -> Slots:
    """Gives each pair a slot.

    Large batches get several blocks, cut at quantiles of the number of neighbours: in organic
    molecules much of a single block would be empty.

    Args:
        center: [n_pairs], ascending.
        n_atoms: number of atoms; one without pairs has a slot nevertheless.
    """
    counts = np.bincount(center, minlength=n_atoms)
    n_blocks = min(MOST_BLOCKS, 1 + len(center) // PAIRS_IN_BLOCK)
    quantiles = -(-np.arange(1, n_blocks + 1) * n_atoms // n_blocks) - 1
    widths = np.unique(np.maximum(np.sort(counts)[quantiles], 1))
    block = np.searchsorted(widths, counts)
    order = np.argsort(block, kind="stable")
    slots = widths[block]
    begin = np.empty(n_atoms, dtype=np.int64)
    begin[order] = np.cumsum(slots[order]) - slots[order]
    first = np.cumsum(counts) - counts
    place = None
    if len(widths) > 1:
        place = torch.empty(n_atoms, dtype=torch.int64)
        place[torch.from_numpy(order)] = torch.arange(n_atoms)
    members = np.bincount(block, minlength=len(widths))
    return Slots(
        blocks=Blocks(
            sizes=tuple(zip(members.tolist(), widths.tolist(), strict=True)), place=place
        ),
        center=np.repeat(order, slots[order]),
        of_pair=begin[center] + np.arange(len(center)) - first[center],
    )


Layout = Literal["auto", "padded", "sorted"]

PAD_LIMIT = 1.6
"""`auto` pads while padding adds less than 60 % to the number of pairs."""


_NO_SHIFTS = np.zeros((0, 3))


@dataclass(frozen=True, kw_only=True, slots=True)
class AtomGraph:
    """A batch of structures.

    In the sorted layout edges are sorted by center. In the padded layout they fill `blocks`, in
    each of which every atom owns the same number of consecutive slots, so that sums over
    neighbours are batched matrix products; unused slots point from an atom to itself and are
    displaced by `padding` beyond any cutoff, where the envelope and all its derivatives vanish.

    Attributes:
        positions: [n_atoms, 3], Å, float64 whatever the model's precision.
        atomic_numbers: [n_atoms], int64.
        system_idx: [n_atoms], int64, non-decreasing; which structure an atom belongs to.
        n_systems: number of structures.
        cell: [n_systems, 3, 3], rows are lattice vectors, Å; None when nothing is periodic.
        center: [n_edges], int64, non-decreasing in the sorted layout.
        neighbor: [n_edges], int64.
        shifts: [n_edges, 3], whole numbers; None when nothing is periodic.
        padding: [n_edges, 3], Å, the constant displacement of unused slots; None when sorted.
        blocks: their shapes in the padded layout, else None.
        charge: [n_systems], e.
        spin: [n_systems], multiplicity 2S + 1.
        first_order: the energy will be differentiated once at most, so a model need not keep what
            second derivatives take and may bound its memory; its weights get no gradient.
        pbc: [n_systems, 3], bool, which lattice vectors are periodic; None without a cell.
        known: [n_systems], float64, the property that the model is told; None for none.
    """

    positions: Tensor
    atomic_numbers: Tensor
    system_idx: Tensor
    n_systems: int
    cell: Tensor | None
    center: Tensor
    neighbor: Tensor
    shifts: Tensor | None
    padding: Tensor | None
    blocks: Blocks | None
    charge: Tensor
    spin: Tensor
    first_order: bool = False
    pbc: Tensor | None = None
    known: Tensor | None = None

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the batch."""
        return int(self.atomic_numbers.shape[0])

    @property
    def n_edges(self) -> int:
        """Number of directed pairs, unused slots included."""
        return int(self.center.shape[0])

    def edge_vectors(self) -> Tensor:
        """Returns r_ij = r_j + S·cell − r_i for every edge: [n_edges, 3], Å."""
        vectors = self.positions.index_select(0, self.neighbor)
        vectors = vectors - self.positions.index_select(0, self.center)
        if self.shifts is not None and self.cell is not None:
            edge_cell = self.cell
            if self.n_systems == 1:
                vectors = vectors + self.shifts @ edge_cell[0]
            else:
                edge_cell = edge_cell.index_select(0, self.system_idx[self.center])
                vectors = vectors + torch.einsum("ei,eij->ej", self.shifts, edge_cell)
        if self.padding is not None:
            vectors = vectors + self.padding
        return vectors

    def by_center(self) -> AtomGraph:
        """Returns the graph in the sorted layout, without unused slots."""
        if self.blocks is None:
            return self
        edges = self.center.argsort(stable=True)
        if self.padding is not None:
            edges = edges[(self.padding == 0).all(dim=1)[edges]]
        return replace(
            self,
            center=self.center[edges],
            neighbor=self.neighbor[edges],
            shifts=None if self.shifts is None else self.shifts[edges],
            padding=None,
            blocks=None,
        )

    def to(self, device: torch.device | str) -> AtomGraph:
        """Returns the graph on another device."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name in self.__dataclass_fields__
            if isinstance(value := getattr(self, name), Tensor | Blocks)
        }
        return replace(self, **moved)

    def usable(self) -> AtomGraph:
        """Returns the graph, or a copy where it was made in torch's inference mode."""
        if not any(isinstance(t, Tensor) and t.is_inference() for t in self._values()):
            return self
        changed: dict[str, Any] = {
            name: usable(value)
            for name, value in zip(self.__dataclass_fields__, self._values(), strict=True)
            if isinstance(value, Tensor)
        }
        if self.blocks is not None and self.blocks.place is not None:
            changed["blocks"] = replace(self.blocks, place=usable(self.blocks.place))
        return replace(self, **changed)

    def _values(self) -> list[Any]:
        return [getattr(self, name) for name in self.__dataclass_fields__]


def build_graph(
    systems: Sequence[System],
    cutoff: float,
    *,
    layout: Layout = "auto",
    names: Sequence[str] | None = None,
) -> AtomGraph:
    """Finds the neighbours of each structure and joins them into one graph on the CPU.

    Args:
        systems: at least one structure.
        cutoff: Å.
        layout: ``padded``, ``sorted``, or ``auto`` (padded while that wastes little).
        names: what to call each structure in a message.

    Raises:
        GeometryError: a structure is unusable; the message names it.
    """
    if names is None:
        neighbors = [neighbor_list(system, cutoff) for system in systems]
    else:
        neighbors = [
            neighbor_list(system, cutoff, name) for system, name in zip(systems, names, strict=True)
        ]
    return join_graphs(systems, neighbors, cutoff, layout=layout)


@plain_torch()
def join_graphs(
    systems: Sequence[System],
    neighbors: Sequence[Neighbors],
    cutoff: float,
    *,
    layout: Layout = "auto",
) -> AtomGraph:
    """Joins structures whose neighbours are known; `build_graph` finds them first."""
    sizes = np.array([len(system) for system in systems])
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    periodic = any(system.pbc.any() for system in systems)
    return flat_graph(
        positions=torch.from_numpy(np.concatenate([s.positions for s in systems])),
        atomic_numbers=torch.from_numpy(np.concatenate([s.atomic_numbers for s in systems])),
        system_idx=torch.from_numpy(np.repeat(np.arange(len(systems)), sizes)),
        cell=torch.from_numpy(np.stack([s.cell for s in systems])) if periodic else None,
        pbc=torch.from_numpy(np.stack([s.pbc for s in systems])) if periodic else None,
        pairs=Neighbors(
            center=np.concatenate([n.center + o for n, o in zip(neighbors, offsets, strict=True)]),
            neighbor=np.concatenate(
                [n.neighbor + o for n, o in zip(neighbors, offsets, strict=True)]
            ),
            shifts=np.concatenate([n.shifts for n in neighbors]) if periodic else _NO_SHIFTS,
        ),
        charge=torch.tensor([s.charge for s in systems], dtype=torch.int64),
        spin=torch.tensor([s.spin for s in systems], dtype=torch.int64),
        cutoff=cutoff,
        layout=layout,
    )


def flat_graph(
    *,
    positions: Tensor,
    atomic_numbers: Tensor,
    system_idx: Tensor,
    cell: Tensor | None,
    pairs: Neighbors,
    charge: Tensor,
    spin: Tensor,
    cutoff: float,
    layout: Layout = "auto",
    pbc: Tensor | None = None,
) -> AtomGraph:
    """Makes a graph of structures that lie one after the other already.

    Args:
        positions: see `AtomGraph`.
        atomic_numbers: see `AtomGraph`.
        system_idx: see `AtomGraph`.
        cell: see `AtomGraph`.
        pairs: indices in the whole batch, sorted by center; without a cell the shifts are ignored.
        charge: [n_systems], e.
        spin: [n_systems].
        cutoff: Å; padding lies beyond it.
        layout: see `build_graph`.
        pbc: see `AtomGraph`.
    """
    center, neighbor = pairs.center, pairs.neighbor
    shifts = None if cell is None else pairs.shifts
    n_atoms = len(atomic_numbers)
    slots = None if layout == "sorted" else make_slots(center, n_atoms)
    if layout == "auto" and slots and slots.blocks.n_slots > PAD_LIMIT * max(len(center), 1):
        slots = None
    padding = None
    if slots is not None:
        center, neighbor, shifts, padding = _pad(slots, neighbor, shifts, cutoff)
    return AtomGraph(
        positions=positions,
        atomic_numbers=atomic_numbers,
        system_idx=system_idx,
        n_systems=len(charge),
        cell=cell,
        center=torch.from_numpy(center),
        neighbor=torch.from_numpy(neighbor),
        shifts=None if shifts is None else torch.from_numpy(shifts),
        padding=None if padding is None else torch.from_numpy(padding),
        blocks=None if slots is None else slots.blocks,
        charge=charge,
        spin=spin,
        pbc=pbc,
    )


def _pad(
    slots: Slots,
    neighbor: Ints,
    shifts: Floats | None,
    cutoff: float,
) -> tuple[Ints, Ints, Floats | None, Floats]:
    padded_neighbor = slots.center.copy()
    padded_neighbor[slots.of_pair] = neighbor
    padding = np.zeros((len(slots.center), 3))
    padding[:, 0] = 2.0 * cutoff
    padding[slots.of_pair] = 0.0
    padded_shifts = None
    if shifts is not None:
        padded_shifts = np.zeros((len(slots.center), 3))
        padded_shifts[slots.of_pair] = shifts
    return slots.center, padded_neighbor, padded_shifts, padding
