"""Where arrays come from: a file, HDF5 aside, seen as sections of named columns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Problem
from tlpot.errors import DataError, nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Frames stored together: an HDF5 group, an npz file, a run of equal XYZ frames.

    Attributes:
        group: the molecule, where the layout names it; else None.
        label: what to call it in a message: ``data.h5:/methanol``.
        first_row: the number of its first frame in a message.
        shapes: shape of every column.
        unread: what the file holds here beside the columns.
    """

    group: str | None
    label: str
    shapes: Mapping[str, tuple[int, ...]]
    first_row: int = 0
    unread: frozenset[str] = frozenset()


class Store(Protocol):
    """Raw columns of a file, as stored."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def sections(self) -> Sequence[Section]:
        """The sections, in file order."""
        ...

    @property
    def linked(self) -> Sequence[Path]:
        """Other files that hold part of the content."""
        ...

    @property
    def outside(self) -> Sequence[str]:
        """Names of arrays that are in no section."""
        ...

    @property
    def problems(self) -> Sequence[Problem]:
        """What was found and passed over when the file was opened."""
        ...

    def attributes(self, section: int | None = None) -> Mapping[str, Any]:
        """Returns what the file says of a section, or of all of itself, beside the columns."""
        ...

    def read(self, section: int, key: str, rows: slice | None = None) -> NDArray:
        """Returns a column, or some of its rows.

        Raises:
            DataError: the file is damaged.
        """
        ...


class MemoryStore:
    """Columns held in memory.

    Args:
        path: the file they came from.
        sections: what they are.
        columns: arrays by name, for every section.
        problems: what was found when the file was read.
    """

    linked: Sequence[Path] = ()
    outside: Sequence[str] = ()

    def __init__(
        self,
        path: Path,
        sections: Sequence[Section],
        columns: Sequence[Mapping[str, NDArray]],
        problems: Sequence[Problem] = (),
    ) -> None:
        self.path = path
        self.problems = problems
        self.sections = sections
        self._columns = columns

    def attributes(self, section: int | None = None) -> Mapping[str, Any]:
        """Returns nothing: only HDF5 files have attributes."""
        return {}

    def read(self, section: int, key: str, rows: slice | None = None) -> NDArray:
        """Returns a column, or some of its rows."""
        column = np.asarray(self._columns[section][key])
        return column if rows is None else column[rows]

    def content_hash(self) -> str:
        """Returns a SHA-256 of the columns, for what is in no file."""
        digest = hashlib.sha256()
        for columns in self._columns:
            for name, column in sorted(columns.items()):
                array = np.ascontiguousarray(column)
                content = str(array.tolist()).encode() if array.dtype == object else array.tobytes()
                digest.update(f"{name} {array.dtype} {array.shape} ".encode() + content)
        return digest.hexdigest()


def read_npz(path: Path, numbers: str, coordinates: str) -> MemoryStore:
    """Reads an archive as one section.

    Args:
        path: the file.
        numbers: name of the array of atomic numbers.
        coordinates: name of the array of positions.

    Raises:
        DataError: no such file, not an archive, truncated, or an array is missing.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except Exception as error:  # numpy, zipfile and zlib raise a dozen kinds for damage
        raise DataError(
            f"{path} is not a complete npz archive of plain arrays ({error})"
        ) from error
    for key in (numbers, coordinates):
        if key not in columns:
            raise DataError(f"{path}: no array {key!r}{nearest(key, columns)}")
    section = Section(
        group=None, label=path.name, shapes={name: a.shape for name, a in columns.items()}
    )
    return MemoryStore(path, [section], [columns])
