"""HDF5 files as sections of columns, read on demand."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from tlpot.data.store import Section
from tlpot.errors import DataError


class HDF5Store:
    """The groups of an HDF5 file that hold structures.

    Args:
        path: the file.
        numbers: the dataset of atomic numbers or symbols.
        coordinates: the dataset of positions; a group with both is a section.
        pattern: shell pattern for the groups' paths (without the leading slash).

    Raises:
        DataError: the file is not HDF5, is truncated, or no group has both datasets.
    """

    def __init__(self, path: Path, numbers: str, coordinates: str, pattern: str = "*") -> None:
        self.path = path
        self._file = HDF5File(path)
        self.sections: Sequence[Section] = []
        self._names: list[str] = []
        seen: set[str] = set()
        for name, molecule, shapes in _groups(self._file.open()):
            seen |= shapes.keys()
            if numbers in shapes and coordinates in shapes and fnmatchcase(name, pattern):
                self._names.append(name)
                self.sections.append(
                    Section(group=molecule, label=f"{path.name}:/{name}", shapes=shapes)
                )
        if not self.sections:
            found = ", ".join(sorted(seen)) or "no datasets at all"
            raise DataError(
                f"{path}: no group matching {pattern!r} has both {numbers!r} and {coordinates!r} "
                f"(found: {found}); is this the right description (spec)?"
            )

    def read(self, section: int, key: str, rows: slice | None = None) -> NDArray:
        """Returns a dataset, or some of its rows.

        Raises:
            DataError: the file is damaged.
        """
        name = self._names[section]
        try:
            return self._file.open()[f"{name}/{key}"][() if rows is None else rows]
        except (OSError, KeyError) as error:
            raise DataError(
                f"{self.path}:/{name}: cannot read {key!r} ({error}); the file is damaged or "
                "was changed while open"
            ) from error


class HDF5File:
    """A file that is opened when first needed in each process: it may be pickled or forked.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: h5py.File | None = None
        self._pid = -1

    def open(self) -> h5py.File:
        """Returns the file of this process, open for reading.

        Raises:
            DataError: see `open_hdf5`.
        """
        if self._pid != os.getpid():
            self._handle = open_hdf5(self._path)
            self._pid = os.getpid()
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_handle": None, "_pid": -1}


def open_hdf5(path: Path) -> h5py.File:
    """Opens a file for reading.

    Raises:
        DataError: there is no such file, or it is not HDF5, or is truncated.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    if path.stat().st_size and not h5py.is_hdf5(path):
        raise DataError(
            f"{path} is not an HDF5 file, and its name tells of no other format that holds a "
            "dataset (.xyz and .extxyz do, .npz with spec=...)"
        )
    try:
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        raise DataError(
            f"{path} is not a complete HDF5 file ({error}); was the download or the program "
            "that wrote it interrupted?"
        ) from error


def _groups(
    group: h5py.Group, path: str = ""
) -> Iterator[tuple[str, str, dict[str, tuple[int, ...]]]]:
    """Yields every group's path, molecule and shapes of its datasets, in the file's order."""
    shapes, children = {}, []
    for name, item in group.items():
        if isinstance(item, h5py.Dataset):
            shapes[name] = item.shape
        elif isinstance(item, h5py.Group):
            children.append((f"{path}/{name}" if path else name, item))
    # several groups are one molecule where its atoms come in several orders
    yield path, str(group.attrs.get("molecule", path)), shapes
    for child_path, child in children:
        yield from _groups(child, child_path)


def json_attribute(handle: h5py.File, name: str, path: Path) -> dict[str, Any]:
    """Returns a root attribute that holds a JSON object; empty where there is none.

    Raises:
        DataError: it holds something else.
    """
    text = handle.attrs.get(name)
    if text is None:
        return {}
    try:
        value = json.loads(text, object_pairs_hook=_distinct)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: root attribute {name!r} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: root attribute {name!r} must be a JSON object, not {text!r}")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object; the last of two equal keys would else win unsaid."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise ValueError(f"{key!r} is given twice, as {found[key]!r} and {value!r}")
        found[key] = value
    return found
