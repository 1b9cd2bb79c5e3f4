"""Fragment files as sections of columns: one section for each kind, labels spread out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.data.dataset import Problem
from tlpot.data.fragment_layout import (
    SOURCE_COLUMNS,
    FragmentKind,
    check_version,
    label_index,
    level_names,
    read_array,
    read_e0,
    read_kind,
    read_units,
)
from tlpot.data.hdf5 import HDF5File
from tlpot.data.spec import DataSpec, LevelSpec, UnitSpec
from tlpot.data.store import Section
from tlpot.errors import ConfigError, DataError

_ABOUT = ("definition", "method", "basis", "program", "version")


class FragmentStore:
    """The kinds of a fragment file; satisfies `tlpot.data.store.Store`.

    A label that few rows carry is stored for these alone; here it is a column of all rows with
    NaN elsewhere. What ``/sources`` says is a column, too.

    Args:
        path: the file.

    Raises:
        DataError: it is damaged or not as the layout wants it; file and key are named.
    """

    linked: Sequence[Path] = ()
    outside: Sequence[str] = ()
    problems: Sequence[Problem] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = HDF5File(path)
        self.kinds: list[FragmentKind] = []
        self.sections: Sequence[Section] = []
        self._index: list[dict[str, NDArray[np.int64]]] = []
        self._sources: dict[str, NDArray] = {}
        handle = self._file.open()
        check_version(handle, path)
        levels = level_names(handle, path)
        n_sources = _count_sources(handle, path)
        for key, group in handle["fragments"].items():
            kind = read_kind(group, path)
            shapes: dict[str, tuple[int, ...]] = {
                name: item.shape for name, item in group.items() if isinstance(item, h5py.Dataset)
            }
            m, n = shapes["positions"][:2]
            sources = read_array(group, "source", path)
            if sources.size and not 0 <= sources.min() <= sources.max() < n_sources:
                raise DataError(
                    f"{path}:{group.name}: 'source' names row {sources.max()} of /sources, which "
                    f"has {n_sources}"
                )
            shapes |= dict.fromkeys(SOURCE_COLUMNS, (m,))
            shapes |= {"charge": (), "multiplicity": ()}
            index = {}
            for name, item in group.items():
                if isinstance(item, h5py.Group):
                    index[name] = label_index(group, name, path, levels)
                    shapes[f"{name}.energy"] = (m,)
                    if "forces" in item:
                        shapes[f"{name}.forces"] = (m, n, 3)
            self.kinds.append(kind)
            self._index.append(index)
            label = f"{path.name}:/fragments/{key}"
            self.sections = [*self.sections, Section(group=key, label=label, shapes=shapes)]

    def read(self, section: int, key: str, rows: slice | None = None) -> NDArray:
        """Returns a column, or some of its rows; labels in the file's units.

        Raises:
            DataError: the file is damaged.
        """
        kind = self.kinds[section]
        if key in ("charge", "multiplicity"):
            return np.array(getattr(kind, key))
        group = self._file.open()[f"fragments/{kind.key}"]
        if key in SOURCE_COLUMNS:
            return self._source_column(key)[read_array(group, "source", self.path, rows)]
        level, dot, quantity = key.rpartition(".")
        if not dot or level not in self._index[section]:
            return read_array(group, key, self.path, rows)
        shape = self.sections[section].shapes[key]
        start, stop, _ = (rows or slice(None)).indices(shape[0])
        index = self._index[section][level]
        first, last = np.searchsorted(index, [start, stop]).tolist()
        column = np.full((stop - start, *shape[1:]), np.nan)
        if first < last:
            stored = read_array(group[level], quantity, self.path, slice(first, last))
            column[index[first:last] - start] = stored
        return column

    def spec(self) -> DataSpec:
        """Returns what the columns mean.

        Raises:
            DataError: a unit is not known.
        """
        handle = self._file.open()
        units = read_units(handle, self.path)
        present = {name for section in self.sections for name in section.shapes}
        levels = {}
        for key, level in level_names(handle, self.path).items():
            group = handle["levels"][key]
            about = [str(group.attrs[name]) for name in _ABOUT if group.attrs.get(name)]
            atoms = read_e0(group, self.path).items()
            levels[level] = LevelSpec(
                energy=f"{key}.energy",
                forces=f"{key}.forces" if f"{key}.forces" in present else None,
                isolated_atoms={chemical_symbols[z]: energy for z, energy in atoms},
                definition=", ".join(about),
            )
        try:
            return DataSpec(
                container="hdf5",
                units=UnitSpec(**units),
                numbers="numbers",
                coordinates="positions",
                charge="charge",
                spin="multiplicity",
                sign="force",
                levels=levels,
                unlabelled=True,
                columns=(
                    *SOURCE_COLUMNS, "weight", "is_cap", "cap_host", "cap_gone_element", "bonds",
                    "unit_id",
                ),
            )  # fmt: skip
        except ConfigError as error:
            raise DataError(f"{self.path}: root attribute 'units': {error}") from error

    def _source_column(self, key: str) -> NDArray:
        if key not in self._sources:
            column = read_array(self._file.open()["sources"], key, self.path)
            if column.dtype.kind == "O":
                column = np.array([text.decode() for text in column], dtype=np.str_)
            self._sources[key] = column
        return self._sources[key]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sources": {}}


def _count_sources(handle: h5py.File, path: Path) -> int:
    lengths = {}
    for name in SOURCE_COLUMNS:
        column = handle["sources"].get(name)
        if not isinstance(column, h5py.Dataset) or column.ndim != 1:
            raise DataError(f"{path}:/sources has no list {name!r}, one value for each source")
        lengths[name] = len(column)
    if len(set(lengths.values())) != 1:
        raise DataError(f"{path}:/sources: the lists have different lengths: {lengths}")
    return lengths["source"]
