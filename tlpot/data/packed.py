"""Large HDF5 files through a cache of flat arrays: opened in a moment, read at random at speed.

HDF5 takes a fraction of a millisecond for each array of each molecule. Of a file with thousands
of molecules every column is therefore written once, one molecule after another, into one flat file
that is mapped into memory. The numbers are those of the HDF5 file, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Problem
from tlpot.data.hdf5 import HDF5File, HDF5Store, read_attributes, read_column
from tlpot.data.store import Section, Store
from tlpot.errors import DataError
from tlpot.files import file_hash
from tlpot.stored_results import read_json

MANY_GROUPS = 1000
"""Groups of a file from which on it is worth a cache."""
CACHE_VARIABLE = "TLPOT_CACHE"
"""Environment variable with the folder of caches; ``off`` for none."""
LARGEST = 20e9
"""Bytes of all caches; what was used longest ago goes first."""

_VERSION = 1
_INDEX = "index.json"
_STALE = 86400.0
_LOG = logging.getLogger("tlpot")


def open_store(
    path: Path, numbers: str, coordinates: str, pattern: str, *, many: int = MANY_GROUPS
) -> Store:
    """Returns the groups of an HDF5 file that hold structures, through a cache if they are many.

    Args:
        path: the file.
        numbers: the dataset of atomic numbers or symbols.
        coordinates: the dataset of positions; a group with both is a section.
        pattern: shell pattern for the groups' paths.
        many: groups from which on there is a cache.

    Raises:
        DataError: see `HDF5Store`.
    """
    folder = _folder()
    if folder is None or _n_groups(path) < many:
        return HDF5Store(path, numbers, coordinates, pattern)
    what = json.dumps([_VERSION, numbers, coordinates, pattern])
    reading = hashlib.sha256(what.encode()).hexdigest()
    place = folder / f"{file_hash(path)[:32]}-{reading[:8]}"
    found = _opened(path, place)
    if found is not None:
        return found
    store = HDF5Store(path, numbers, coordinates, pattern)
    if store.linked:  # content of other files may change behind the cache
        return store
    try:
        n_bytes = _write(store, place)
    except OSError as error:
        _LOG.debug("%s: no cache in %s (%s)", path, folder, error)
        return store
    _LOG.info(
        "%s: cache of %.0f MB in %s (%s=off for none)", path, n_bytes / 1e6, place, CACHE_VARIABLE
    )
    _make_room(folder, place)
    return _opened(path, place) or store


class PackedStore:
    """Columns of an HDF5 file in flat arrays; satisfies `Store`.

    Args:
        path: the HDF5 file, which still has the attributes.
        place: folder of the cache.
        index: what is in it.
    """

    linked: Sequence[Path] = ()

    def __init__(self, path: Path, place: Path, index: Mapping[str, Any]) -> None:
        self.path = path
        self.place = place
        self.outside: Sequence[str] = tuple(index["outside"])
        self.read_from: Mapping[str, Sequence[str]] = {}
        self.problems: Sequence[Problem] = tuple(
            Problem(**{**each, "frames": tuple(each["frames"])}) for each in index["problems"]
        )
        self.sections: Sequence[Section] = [
            Section(
                group=group,
                label=label.replace("\0", path.name, 1),
                shapes={key: tuple(shape) for key, shape in shapes.items()},
            )
            for group, label, shapes in index["sections"]
        ]
        self._names: Sequence[str] = index["names"]
        self._columns: Mapping[str, Mapping[str, tuple[str, int]]] = index["columns"]
        self._types: Mapping[str, tuple[str, int]] = index["files"]
        self._mapped: dict[str, NDArray] = {}
        self._source = HDF5File(path)

    def attributes(self, section: int | None = None) -> Mapping[str, Any]:
        """Returns the attributes of a section's group, or of the file's root."""
        return read_attributes(self._source, "" if section is None else self._names[section])

    def read(self, section: int, key: str, rows: slice | None = None) -> NDArray:
        """Returns a column, or some of its rows.

        Raises:
            DataError: the cache is damaged, or the file where the cache lacks the column.
        """
        found = self._columns.get(key, {}).get(str(section))
        if found is None:
            return read_column(self._source, self.path, self._names[section], key, rows)
        (file, start), shape = found, self.sections[section].shapes[key]
        try:
            if file not in self._mapped:
                dtype = np.dtype(self._types[file][0])
                self._mapped[file] = np.memmap(self.place / file, dtype=dtype, mode="r")
            flat = self._mapped[file][start : start + int(np.prod(shape, dtype=np.int64))]
            column = flat.reshape(shape)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.place}: the cache of {self.path} is damaged ({error}); remove it"
            ) from error
        return np.array(column if rows is None else column[rows])

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the files itself."""
        return {**self.__dict__, "_mapped": {}}


def _folder() -> Path | None:
    given = os.environ.get(CACHE_VARIABLE, "")
    if given.lower() == "off":
        return None
    if given:
        return Path(given).expanduser() / "datasets"
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return home / "tlpot" / "datasets"


def _n_groups(path: Path) -> int:
    return len(HDF5File(path).open())


def _opened(path: Path, place: Path) -> PackedStore | None:
    """Returns a cache that is whole; None where there is none."""
    try:
        index = read_json(place / _INDEX, "remove it")
        for file, (_, n_bytes) in index["files"].items():
            if (place / file).stat().st_size != n_bytes:
                return None
        store = PackedStore(path, place, index)
        os.utime(place / _INDEX)
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None
    return store


def _write(store: HDF5Store, place: Path) -> int:
    """Writes the cache of a file, whole or not at all; returns its size in bytes."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=place.parent))
    try:
        index, n_bytes = _columns(store, temporary)
        (temporary / _INDEX).write_text(json.dumps(index))
        try:
            temporary.rename(place)
        except OSError:  # there is one: of a process that was first, and may read it, or damaged
            if _opened(store.path, place) is None:
                shutil.rmtree(place, ignore_errors=True)
                temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return n_bytes


def _columns(store: HDF5Store, folder: Path) -> tuple[dict[str, Any], int]:
    """Writes the flat arrays, one for each name and type; returns what is in them and the bytes."""
    columns: dict[str, dict[str, tuple[str, int]]] = {}
    files: dict[str, tuple[str, int]] = {}
    for key in sorted({key for section in store.sections for key in section.shapes}):
        parts: dict[str, list[tuple[int, NDArray]]] = {}
        for k, section in enumerate(store.sections):
            if key in section.shapes:
                array = store.read(k, key)
                # text of any length, and what has no numbers, stays where it is
                if array.size and not array.dtype.hasobject and array.shape == section.shapes[key]:
                    parts.setdefault(array.dtype.str, []).append((k, array))
        columns[key] = {}
        for dtype, arrays in parts.items():
            file, start = f"{len(files)}.bin", 0
            with (folder / file).open("wb") as out:
                for k, array in arrays:
                    columns[key][str(k)] = (file, start)
                    out.write(np.ascontiguousarray(array).tobytes())
                    start += array.size
            files[file] = dtype, start * np.dtype(dtype).itemsize
    prefix = store.path.name
    index = {
        "outside": list(store.outside),
        "problems": [asdict(problem) for problem in store.problems],
        "sections": [(s.group, s.label.replace(prefix, "\0", 1), s.shapes) for s in store.sections],
        "names": list(store.names),
        "columns": columns,
        "files": files,
    }
    return index, sum(n_bytes for _, n_bytes in files.values())


def _make_room(folder: Path, kept: Path) -> None:
    """Removes the caches that were used longest ago until the rest is not too large."""
    for unfinished in folder.glob(".new-*"):  # of a process that was killed
        if time.time() - unfinished.stat().st_mtime > _STALE:
            shutil.rmtree(unfinished, ignore_errors=True)
    caches = [(index.stat().st_mtime, index.parent) for index in folder.glob(f"*/{_INDEX}")]
    total = sum(_size(place) for _, place in caches)
    for _, place in sorted(caches):
        if total > LARGEST and place != kept:
            total -= _size(place)
            shutil.rmtree(place, ignore_errors=True)


def _size(place: Path) -> int:
    return sum(file.stat().st_size for file in place.iterdir())
