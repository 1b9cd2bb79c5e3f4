"""The dataset class: columns of a store, decoded to eV and Å frame by frame."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from numpy.typing import NDArray

from tlpot.data.dataset import (
    Frame,
    FrameSequence,
    LabelKind,
    Labels,
    LevelInfo,
    Problem,
    checked_indices,
)
from tlpot.data.decode import Decoder, Geometry, LevelLabels
from tlpot.data.spec import DataSpec
from tlpot.data.store import MemoryStore, Section, Store
from tlpot.data.summary import (
    definition_problems,
    name_problems,
    outside_problems,
    resolution_problems,
    unread_problems,
)
from tlpot.data.unread import unread_state
from tlpot.errors import DataError, UnknownLevelError, nearest
from tlpot.files import file_hash
from tlpot.levels import canonical_level
from tlpot.numbers import counted
from tlpot.system import NO_CELL, NO_PBC, System

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Items by key; the least recently used go first when the bound is passed.

    Args:
        limit: bytes. One item larger than that is returned but not kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.n_bytes = 0
        self._items: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K, load: Callable[[], tuple[V, int]]) -> V:
        """Returns the item, calling `load` for it and its size in bytes where it is not held."""
        if key in self._items:
            self._items.move_to_end(key)
            return self._items[key][0]
        value, n_bytes = load()
        if n_bytes <= self.limit:
            self._items[key] = value, n_bytes
            self.n_bytes += n_bytes
            while self.n_bytes > self.limit:
                _, (_, freed) = self._items.popitem(last=False)
                self.n_bytes -= freed
        return value

    def __getstate__(self) -> dict[str, int]:
        """The content stays behind: another process fills its own."""
        return {"limit": self.limit}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.limit = state["limit"]
        self.n_bytes = 0
        self._items = OrderedDict()


CHUNK_BYTES = 1 << 18
"""Positions read at a time: enough to amortise a read, little enough to waste none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameIndex:
    """The frames of a store, in file order. A slab is some consecutive rows of one section.

    Attributes:
        starts: [n_sections], number of each section's first frame.
        n_rows: [n_sections], frames in each section.
        chunk_rows: [n_sections], frames in a slab.
        sizes: [n_frames], atoms.
        group_idx: [n_frames], molecule.
        group_names: names of the molecules.
        elements: atomic numbers that occur, ascending.
    """

    starts: NDArray[np.int64]
    n_rows: NDArray[np.int64]
    chunk_rows: NDArray[np.int64]
    sizes: NDArray[np.int64]
    group_idx: NDArray[np.int64]
    group_names: Sequence[str]
    elements: tuple[int, ...]

    def locate(
        self, indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Returns for each frame its section, its slab, and its row within the slab."""
        sections = np.searchsorted(self.starts, indices, side="right") - 1
        rows = indices - self.starts[sections]
        chunk_rows = self.chunk_rows[sections]
        return sections, rows // chunk_rows, rows % chunk_rows

    def rows(self, section: int, chunk: int) -> slice:
        """Returns the rows of a section that make up a slab."""
        first = chunk * int(self.chunk_rows[section])
        return slice(first, min(first + int(self.chunk_rows[section]), int(self.n_rows[section])))

    def chunks(self) -> Iterator[tuple[int, int, slice, slice]]:
        """Yields section, slab, the rows of the section, and the frames of the dataset."""
        for section, (start, n_rows) in enumerate(zip(self.starts, self.n_rows, strict=True)):
            for chunk in range(-(-int(n_rows) // int(self.chunk_rows[section]))):
                rows = self.rows(section, chunk)
                yield section, chunk, rows, slice(start + rows.start, start + rows.stop)


def build_index(store: Store, decoder: Decoder) -> FrameIndex:
    """Reads the sizes and the elements of a store and names its molecules.

    A molecule is what the layout says it is (an HDF5 group), or else all frames with the same
    formula, so that a split by molecule never separates two orders of the same atoms.

    Raises:
        DataError: a frame has no atoms.
    """
    names: dict[str, int] = {}
    sizes, groups, n_rows, chunk_rows = [], [], [], []
    elements: set[int] = set()
    for k, section in enumerate(store.sections):
        m = decoder.n_rows(k)
        numbers = decoder.numbers(k)
        unique, inverse = _compositions(numbers, m)
        elements |= set(np.unique(unique).tolist()) - {0}
        counts = (unique > 0).sum(axis=1)
        if m and (counts == 0).any():
            raise DataError(f"{section.label} has frames without atoms")
        ids = []
        for row in unique if m else ():  # a molecule without frames is none
            name = _formula(row) if section.group is None or numbers.ndim == 2 else section.group
            ids.append(names.setdefault(name, len(names)))
        n_rows.append(m)
        chunk_rows.append(max(1, CHUNK_BYTES // max(24 * numbers.shape[-1], 1)))
        sizes.append(counts[inverse])
        groups.append(np.array(ids, dtype=np.int64)[inverse])
    rows = np.array(n_rows, dtype=np.int64)
    empty = [np.zeros(0, dtype=np.int64)]
    return FrameIndex(
        starts=np.cumsum(rows) - rows,
        n_rows=rows,
        chunk_rows=np.array(chunk_rows, dtype=np.int64),
        sizes=np.concatenate(sizes or empty).astype(np.int64),
        group_idx=np.concatenate(groups or empty),
        group_names=tuple(names),
        elements=tuple(sorted(elements)),
    )


def _compositions(
    numbers: NDArray[np.int64], n_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the distinct compositions [n, n_atoms] and which of them each row has."""
    if numbers.ndim == 1 or (n_rows and (numbers == numbers[0]).all()):
        one = numbers if numbers.ndim == 1 else numbers[0]
        return one[None], np.zeros(n_rows, dtype=np.int64)
    unique, inverse = np.unique(np.sort(numbers, axis=1), axis=0, return_inverse=True)
    return unique, inverse.reshape(-1)


def _formula(numbers: NDArray[np.int64]) -> str:
    z, counts = np.unique(numbers[numbers > 0], return_counts=True)
    symbols = {chemical_symbols[k]: int(n) for k, n in zip(z, counts, strict=True)}
    return Formula.from_dict(symbols).format("hill")


CACHE_BYTES = 1 << 30
"""Decoded arrays kept in memory; a file that fits is read once."""


class ArrayDataset(FrameSequence):
    """Frames of one file; satisfies `tlpot.data.Dataset`.

    Args:
        store: the file's columns.
        spec: what they mean; levels that the file does not have are dropped.
        cache_bytes: bound on the decoded arrays kept in memory.

    Raises:
        DataError: arrays have shapes that do not fit together, an element is unknown, or none
            of the labels described is in the file.
    """

    def __init__(self, store: Store, spec: DataSpec, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._store = store
        self._decoder = Decoder(store, spec)
        self._spec = spec
        self._cache: ByteCache[tuple[int, int, str], Any] = ByteCache(cache_bytes)
        self._index = build_index(store, self._decoder)
        self._decoder.check_energy_zero(self._index.elements)
        self._labelled: dict[tuple[str, LabelKind], NDArray[np.bool_]] = {}
        self.path = store.path
        self.elements = self._index.elements
        self.sizes = self._index.sizes
        self.group_names = self._index.group_names
        self.group_idx = self._index.group_idx
        self.levels: Mapping[str, LevelInfo] = self._find_levels()

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the file's content, with that of other files that it leads to."""
        if not self.path.is_file() and isinstance(self._store, MemoryStore):
            return self._store.content_hash()
        hashes = [file_hash(path) for path in (self.path, *self._store.linked)]
        if len(hashes) == 1:
            return hashes[0]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    @cached_property
    def unused_keys(self) -> tuple[str, ...]:
        """Arrays of the file that the description does not mention."""
        sections = self._store.sections
        held = {*self._store.outside, *(key for section in sections for key in section.shapes)}
        # what is not read may be called as a column is that was read from elsewhere
        unread = (held - {*self._decoder.described_keys}).union(*(s.unread for s in sections))
        return tuple(sorted(unread))

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What opening the file has shown."""
        steps = {
            level: self._decoder.energy_step(level)
            for level, info in self.levels.items()
            if info.quantity is None
        }
        kinds = {kind for level in self.levels.values() for kind in level.kinds}
        return (
            *self._store.problems,
            *self._decoder.cell_problems(),
            *self._decoder.stress_problems(),
            *unread_problems(set(self.unused_keys) - {*self._spec.unread}, kinds),
            *unread_state(self._store, self._spec, self.unused_keys),
            *outside_problems(set(self._store.outside), self._spec),
            *definition_problems(self.levels),
            *resolution_problems(steps),
            *name_problems(self._total_levels()),
        )

    def _total_levels(self) -> dict[str, LevelInfo]:
        """Returns the levels whose energies the description says to be total."""
        zeros = {name: spec.energy_zero for name, spec in self._spec.levels.items()}
        return {name: info for name, info in self.levels.items() if zeros[name] == "total"}

    def __len__(self) -> int:
        return len(self._index.sizes)

    def labelled(self, level: str, kind: LabelKind = "energy") -> NDArray[np.bool_]:
        """Which frames carry a label, [n_frames].

        Raises:
            UnknownLevelError: no such level; the message lists those present.
            DataError: a frame's label is damaged: infinite, or NaN in part only.
        """
        level = canonical_level(level)
        if level not in self.levels:
            raise UnknownLevelError(
                f"{self.path} has no level {level!r}{nearest(level, self.levels)}"
            )
        if (level, kind) not in self._labelled:
            self._labelled[level, kind] = self._find_labelled(level, kind)
        return self._labelled[level, kind]

    def attributes(self, group: str | None = None) -> Mapping[str, Any]:
        """Returns what the file says of a molecule beside its frames; None: of itself.

        Columns that a description names are among it, so that they outlive a conversion.
        """
        if group is None:
            root, named = self._store.attributes(), dict.fromkeys(self._spec.columns, "")
            described = named and not root.keys() & {"columns", "units"}
            return {**root, "columns": json.dumps(named)} if described else root
        section = self._section_of.get(group)
        return {} if section is None else self._store.attributes(section)

    @cached_property
    def _section_of(self) -> dict[str | None, int]:
        """A section of each molecule."""
        return {section.group: k for k, section in enumerate(self._store.sections)}

    def column(self, key: str) -> NDArray:
        """Returns an array of the file with one value for each frame, as stored, or as text.

        A section may have one value for all of its frames.

        Raises:
            DataError: not every section has it, or it has another shape.
        """
        parts = []
        for k, section in enumerate(self._store.sections):
            n_rows = self._index.n_rows[k]
            if section.shapes.get(key, None) not in ((n_rows,), (1,), ()):
                raise DataError(
                    f"{section.label} has no array {key!r} of {n_rows} values, one for each "
                    f"frame, or one for all{nearest(key, section.shapes)}"
                )
            stored = np.broadcast_to(np.asarray(self._store.read(k, key)), n_rows)
            if stored.dtype.kind in "OS":
                texts = [x.decode() if isinstance(x, bytes) else str(x) for x in stored.tolist()]
                stored = np.array(texts, dtype=np.str_)
            parts.append(stored)
        return np.concatenate(parts) if parts else np.zeros(0)

    def read(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        levels: Collection[str] | None = None,
    ) -> list[Frame]:
        """Returns frames in the order asked for; see `Dataset.read`."""
        asked = checked_indices(self, indices)
        wanted = list(self.levels) if levels is None else [x for x in self.levels if x in levels]
        frames: list[Frame | None] = [None] * len(asked)
        sections, chunks, places = self._index.locate(asked)
        # one visit to each slab, however the indices are shuffled
        order = np.lexsort((chunks, sections))
        start = 0
        while start < len(order):
            section, chunk = int(sections[order[start]]), int(chunks[order[start]])
            rows = self._index.rows(section, chunk)
            geometry = self._geometry(section, chunk, rows)
            labels = {level: self._labels(section, chunk, rows, level) for level in wanted}
            here = {level: found for level, found in labels.items() if found is not None}
            while start < len(order):
                k = int(order[start])
                if sections[k] != section or chunks[k] != chunk:
                    break
                group = self.group_names[self.group_idx[asked[k]]]
                row = int(places[k])
                name = _frame_name(self._store.sections[section], rows.start + row)
                frame = _frame(geometry, here, row, group, name)
                damaged = tuple(
                    self._decoder.damage(level, kind)
                    for level, found in here.items()
                    for kind, rows_hit in found.damaged.items()
                    if rows_hit[row]
                )
                frames[k] = replace(frame, damaged=damaged) if damaged else frame
                start += 1
        return [frame for frame in frames if frame is not None]

    def _geometry(self, section: int, chunk: int, rows: slice) -> Geometry:
        def load() -> tuple[Geometry, int]:
            geometry = self._decoder.geometry(section, rows)
            return geometry, geometry.n_bytes

        return self._cache.get((section, chunk, ""), load)

    def _labels(self, section: int, chunk: int, rows: slice, level: str) -> LevelLabels | None:
        if not self._decoder.has_level(section, level):
            return None

        def load() -> tuple[LevelLabels, int]:
            geometry = self._geometry(section, chunk, rows)
            labels = self._decoder.labels(section, rows, level, geometry)
            return labels, labels.n_bytes

        return self._cache.get((section, chunk, level), load)

    def _find_labelled(self, level: str, kind: LabelKind) -> NDArray[np.bool_]:
        mask = np.zeros(len(self), dtype=bool)
        damaged = []
        if kind in self.levels[level].kinds:
            for section, chunk, rows, frames in self._index.chunks():
                labels = self._labels(section, chunk, rows, level)
                if labels is None:
                    continue
                mask[frames] = labels.present(kind)
                for row in np.flatnonzero(labels.damaged.get(kind, False)):
                    damaged.append(_frame_name(self._store.sections[section], rows.start + row))
        if damaged:
            raise DataError(
                f"{self.path}: {self._decoder.damage(level, kind)}. "
                f"{counted(len(damaged), 'frame')}: "
                f"{', '.join(damaged[:_SHOWN])}{', ...' if len(damaged) > _SHOWN else ''}"
            )
        return mask

    def _find_levels(self) -> dict[str, LevelInfo]:
        levels = {}
        for name, spec in self._spec.levels.items():
            kinds = frozenset(kind for kind in _KINDS if self._decoder.occurs(name, kind))
            if kinds or not len(self):
                levels[name] = LevelInfo(
                    name=name,
                    kinds=kinds,
                    isolated_atoms=self._decoder.isolated_atoms(name),
                    definition=spec.definition,
                    other_definitions=spec.other_definitions,
                    keys=tuple(
                        self._store.read_from.get(name)
                        or (key for key in spec.keys if self._decoder.has_array(key))
                    ),
                    quantity=spec.quantity,
                )
        if not levels and len(self) and not self._spec.unlabelled:
            described = sorted({k for level in self._spec.levels.values() for k in level.keys})
            present = sorted({k for s in self._store.sections for k in s.shapes})
            raise DataError(
                f"{self.path}: no frame has any of the labels described "
                f"({', '.join(described)}); the file has {', '.join(present)}. "
                "Check the description (spec), the level, or name the arrays with keys=..."
            )
        return levels


_KINDS: tuple[LabelKind, ...] = ("energy", "forces", "stress")
_SHOWN = 5
"""Frames named in a message."""


def _frame_name(section: Section, row: int) -> str:
    if section.row_names:
        return section.row_names[row]
    return f"{section.label}[{section.first_row + row}]"


def _frame(
    geometry: Geometry, levels: Mapping[str, LevelLabels], row: int, group: str, name: str
) -> Frame:
    """Copies one row, so that a frame does not keep a whole slab in memory."""
    numbers: NDArray[np.int64] = geometry.numbers
    atoms: slice | NDArray[np.bool_] = slice(None)
    if numbers.ndim == 2:
        atoms = numbers[row] > 0
        numbers = numbers[row][atoms]
    labels = {}
    for level, found in levels.items():
        energy = float(found.energy[row])
        forces = stress = None
        if found.forces is not None and found.has_forces[row]:
            forces = np.array(found.forces[row][atoms])
        if found.stress is not None and found.has_stress[row]:
            stress = np.array(found.stress[row])
        if energy == energy or forces is not None or stress is not None:
            labels[level] = Labels(energy=energy, forces=forces, stress=stress)
    return Frame(
        system=System(
            atomic_numbers=numbers,
            positions=np.array(geometry.positions[row][atoms]),
            cell=NO_CELL if geometry.cell is None else np.array(geometry.cell[row]),
            pbc=NO_PBC if geometry.pbc is None else np.array(geometry.pbc[row]),
            charge=int(geometry.charge[row]),
            spin=int(geometry.spin[row]),
        ),
        labels=labels,
        group=group,
        name=name,
    )
