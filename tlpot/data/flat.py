"""Flat arrays: the atoms of all frames in a row, and where each frame begins or how many it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlpot.data.spec import DataSpec
from tlpot.data.store import Section, Store, as_whole
from tlpot.errors import DataError, nearest

BLOCK = 4096
"""Frames of a section: rows are padded to the largest frame of one, not of the whole file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Block:
    """Consecutive frames of a section of the file.

    Attributes:
        section: of the file.
        first: number of the first frame in it.
        starts: [n_rows + 1], number of the first atom of each frame, and the end of the last.
    """

    section: int
    first: int
    starts: NDArray[np.int64]

    @property
    def n_rows(self) -> int:
        return len(self.starts) - 1

    @property
    def width(self) -> int:
        """Atoms of the largest frame."""
        return int(np.diff(self.starts).max(initial=0))


class FlatStore:
    """Flat columns as rows that are padded to equal length; satisfies `Store`.

    Columns of atoms, such as coordinates [n_atoms, 3], become [n_rows, width, 3], with 0 for the
    atomic numbers and NaN for the forces of unused places. Only what is asked for is read.

    Args:
        store: the columns as stored.
        spec: what they mean; with `offsets` or `counts`.

    Raises:
        DataError: no such array, offsets that do not begin at 0, rise, and end with the number of
            atoms, counts that do not add up to it, or columns of another length.
    """

    def __init__(self, store: Store, spec: DataSpec) -> None:
        self._store = store
        levels = spec.levels.values()
        self._forces = {level.forces for level in levels if level.forces}
        self._of_atoms = {spec.numbers, spec.coordinates, *self._forces}
        self._of_frames = {key for level in levels for key in level.keys} - self._forces
        self._blocks: list[_Block] = []
        self.path = store.path
        self.linked, self.outside = store.linked, store.outside
        self.read_from, self.problems = store.read_from, store.problems
        for k, section in enumerate(store.sections):
            starts = self._starts(k, section, spec)
            for first in range(0, len(starts) - 1, BLOCK):
                part = starts[first : first + BLOCK + 1]
                self._blocks.append(_Block(section=k, first=first, starts=part))
        self._n_rows = {
            k: sum(block.n_rows for block in self._blocks if block.section == k)
            for k in range(len(store.sections))
        }
        self.sections: Sequence[Section] = [self._section(block) for block in self._blocks]

    def attributes(self, section: int | None = None) -> Mapping[str, Any]:
        """Returns what the file says of a section, or of all of itself."""
        return self._store.attributes(None if section is None else self._blocks[section].section)

    def read(self, section: int, key: str, rows: slice | None = None) -> NDArray:
        """Returns a column, or some of its rows.

        Raises:
            DataError: the file is damaged.
        """
        block = self._blocks[section]
        rows = slice(0, block.n_rows) if rows is None else rows
        if key in self._of_atoms:
            starts = block.starts[rows.start : rows.stop + 1]
            flat = self._store.read(block.section, key, slice(int(starts[0]), int(starts[-1])))
            return self._padded(key, flat, np.diff(starts), block.width)
        if self._by_frame(block.section, key):
            there = slice(block.first + rows.start, block.first + rows.stop)
            return self._store.read(block.section, key, there)
        return self._store.read(block.section, key)

    def _padded(self, key: str, flat: NDArray, counts: NDArray[np.int64], width: int) -> NDArray:
        """Returns the atoms of some frames as rows, [n_rows, width, ...]."""
        fill: Any = {"S": b"", "U": "", "O": ""}.get(flat.dtype.kind, 0)
        if key in self._forces and flat.dtype.kind == "f":
            fill = np.nan
        rows = np.full((len(counts), width, *flat.shape[1:]), fill, flat.dtype)
        rows[np.arange(width) < counts[:, None]] = flat
        return rows

    def _by_frame(self, section: int, key: str) -> bool:
        shape = self._store.sections[section].shapes[key]
        return key in self._of_frames or shape[:1] == (self._n_rows[section],)

    def _section(self, block: _Block) -> Section:
        stored = self._store.sections[block.section]
        shapes = {}
        for key, shape in stored.shapes.items():
            if key in self._of_atoms:
                shape = (block.n_rows, block.width, *shape[1:])
            elif self._by_frame(block.section, key):
                shape = (block.n_rows, *shape[1:])
            shapes[key] = shape
        return Section(
            group=stored.group,
            label=stored.label,
            first_row=stored.first_row + block.first,
            shapes=shapes,
            unread=stored.unread,
        )

    def _starts(self, k: int, section: Section, spec: DataSpec) -> NDArray[np.int64]:
        """Returns the first atom of each frame of a section, and the end, [n_frames + 1]."""
        key = spec.offsets or spec.counts
        assert key is not None
        if key not in section.shapes:
            raise DataError(f"{section.label}: no array {key!r}{nearest(key, section.shapes)}")
        n_atoms = section.shapes[spec.coordinates][0]
        for name in self._of_atoms & section.shapes.keys():
            found = section.shapes[name]
            expected = (n_atoms,) if name == spec.numbers else (n_atoms, 3)
            if found != expected:
                raise DataError(
                    f"{section.label}: {name!r} has shape {found}, but {n_atoms} atoms in a row "
                    f"need {expected}"
                )
        where = f"{section.label}: {key!r}"
        stored = as_whole(self._store.read(k, key).reshape(-1), where)
        if spec.counts is not None:
            stored = np.concatenate([[0], np.cumsum(_positive(stored, where))])
        elif len(stored) < 2 or stored[0] != 0:
            raise DataError(
                f"{where} is {_some(stored)}, expected where each frame begins, from 0, and the "
                f"number of atoms, {n_atoms}, at the end; for numbers of atoms, use counts"
            )
        else:
            _positive(np.diff(stored), f"{where} rises by steps that are the frames' atoms; it")
        if stored[-1] != n_atoms:
            what = "adds up to" if spec.counts is not None else "ends at"
            raise DataError(
                f"{where} {what} {stored[-1]} atoms, but {spec.coordinates!r} has {n_atoms}"
                + ("" if spec.counts is not None else "; it has one number more than frames")
            )
        for name in self._of_frames & section.shapes.keys():
            found = section.shapes[name]
            if 0 not in found and found[:1] != (len(stored) - 1,):
                raise DataError(
                    f"{section.label}: {name!r} has shape {found}, but {where} is of "
                    f"{len(stored) - 1} frames"
                )
        return stored


def _positive(counts: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    if (counts < 1).any():
        k = int(np.argmax(counts < 1))
        raise DataError(f"{where} gives frame {k} {counts[k]} atoms, expected 1 or more")
    return counts


def _some(values: NDArray[np.int64]) -> str:
    shown = ", ".join(str(value) for value in values[:3].tolist())
    return f"[{shown}{', ...' if len(values) > 3 else ''}]"
