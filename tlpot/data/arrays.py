"""The dataset class: columns of a store, decoded to eV and Å frame by frame."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlpot.data.cache import ByteCache
from tlpot.data.dataset import LabelKind, LevelInfo
from tlpot.data.decode import Decoder
from tlpot.data.frame import Frame, Labels
from tlpot.data.index import build_index
from tlpot.data.slab import Geometry, LevelLabels
from tlpot.data.spec import DataSpec
from tlpot.data.store import Section, Store
from tlpot.errors import DataError, UnknownLevelError, nearest
from tlpot.levels import canonical_level
from tlpot.system import NO_CELL, NO_PBC, System

CACHE_BYTES = 1 << 30
"""Decoded arrays kept in memory; a file that fits is read once."""


class ArrayDataset:
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
        self._levels = self._find_levels()

    @property
    def path(self) -> Path:
        """The file."""
        return self._store.path

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the file's content."""
        with self.path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    @property
    def levels(self) -> Mapping[str, LevelInfo]:
        """Levels of theory by canonical name."""
        return self._levels

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return self._index.elements

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms in each frame, [n_frames]."""
        return self._index.sizes

    @property
    def group_names(self) -> Sequence[str]:
        """Names of the molecules."""
        return self._index.group_names

    @property
    def group_idx(self) -> NDArray[np.int64]:
        """Which molecule each frame belongs to, [n_frames]."""
        return self._index.group_idx

    @cached_property
    def unused_keys(self) -> tuple[str, ...]:
        """Arrays of the file that the description does not mention."""
        known = set(self._decoder.described_keys)
        held = {key for s in self._store.sections for key in (*s.shapes, *s.unread)}
        return tuple(sorted(held - known))

    def __len__(self) -> int:
        return len(self._index.sizes)

    def labelled(self, level: str, kind: LabelKind = "energy") -> NDArray[np.bool_]:
        """Which frames carry a label, [n_frames].

        Raises:
            UnknownLevelError: no such level; the message lists those present.
            DataError: a frame's label is damaged: infinite, or NaN in part only.
        """
        level = canonical_level(level)
        if level not in self._levels:
            raise UnknownLevelError(
                f"{self.path} has no level {level!r}{nearest(level, self._levels)}"
            )
        if (level, kind) not in self._labelled:
            self._labelled[level, kind] = self._find_labelled(level, kind)
        return self._labelled[level, kind]

    def column(self, key: str) -> NDArray:
        """Returns an array of the file with one value for each frame, as stored.

        Raises:
            DataError: not every section has it, or it has another shape.
        """
        parts = []
        for k, section in enumerate(self._store.sections):
            n_rows = self._index.n_rows[k]
            if section.shapes.get(key, ())[:1] != (n_rows,) or len(section.shapes[key]) != 1:
                raise DataError(
                    f"{section.label} has no array {key!r} of {n_rows} values, one for each "
                    f"frame{nearest(key, section.shapes)}"
                )
            parts.append(self._store.read(k, key))
        return np.concatenate(parts) if parts else np.zeros(0)

    def read(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        levels: Collection[str] | None = None,
    ) -> list[Frame]:
        """Returns frames in the order asked for, with the labels of `levels` (default: all).

        Raises:
            DataError: an index is out of range, or the file is damaged.
        """
        asked = np.asarray(indices, dtype=np.int64)
        if asked.size and (asked.min() < 0 or asked.max() >= len(self)):
            raise DataError(f"{self.path} has {len(self)} frames; one of the indices is outside")
        wanted = list(self._levels) if levels is None else [x for x in self._levels if x in levels]
        frames: list[Frame | None] = [None] * len(asked)
        sections, slabs, places = self._index.locate(asked)
        # one visit to each slab, however the indices are shuffled
        order = np.lexsort((slabs, sections))
        start = 0
        while start < len(order):
            section, slab = int(sections[order[start]]), int(slabs[order[start]])
            rows = self._index.rows(section, slab)
            geometry = self._geometry(section, slab, rows)
            labels = {level: self._labels(section, slab, rows, level) for level in wanted}
            here = {level: found for level, found in labels.items() if found is not None}
            while start < len(order):
                k = int(order[start])
                if sections[k] != section or slabs[k] != slab:
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

    def _geometry(self, section: int, slab: int, rows: slice) -> Geometry:
        def load() -> tuple[Geometry, int]:
            geometry = self._decoder.geometry(section, rows)
            return geometry, geometry.n_bytes

        return self._cache.get((section, slab, ""), load)

    def _labels(self, section: int, slab: int, rows: slice, level: str) -> LevelLabels | None:
        if not self._decoder.has_level(section, level):
            return None

        def load() -> tuple[LevelLabels, int]:
            geometry = self._geometry(section, slab, rows)
            labels = self._decoder.labels(section, rows, level, geometry)
            return labels, labels.n_bytes

        return self._cache.get((section, slab, level), load)

    def _find_labelled(self, level: str, kind: LabelKind) -> NDArray[np.bool_]:
        mask = np.zeros(len(self), dtype=bool)
        damaged = []
        if kind in self._levels[level].kinds:
            for section, slab, rows, frames in self._index.slabs():
                labels = self._labels(section, slab, rows, level)
                if labels is None:
                    continue
                mask[frames] = labels.present(kind)
                for row in np.flatnonzero(labels.damaged.get(kind, False)):
                    damaged.append(_frame_name(self._store.sections[section], rows.start + row))
        if damaged:
            raise DataError(
                f"{self.path}: {self._decoder.damage(level, kind)}. {len(damaged)} frames: "
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
