"""Where arrays come from: a file seen as sections of named columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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
    """

    def __init__(
        self,
        path: Path,
        sections: Sequence[Section],
        columns: Sequence[Mapping[str, NDArray]],
    ) -> None:
        self.path = path
        self.sections = sections
        self._columns = columns

    def read(self, section: int, key: str, rows: slice | None = None) -> NDArray:
        """Returns a column, or some of its rows."""
        column = np.asarray(self._columns[section][key])
        return column if rows is None else column[rows]
