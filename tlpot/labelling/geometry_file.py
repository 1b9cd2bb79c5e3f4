"""The geometries of a file in the native layout, with or without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tlpot.data.hdf5 import json_attribute, open_hdf5
from tlpot.errors import DataError
from tlpot.levels import canonical_level
from tlpot.system import NO_CELL, NO_PBC, System
from tlpot.units import length_factor


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredLevel:
    """A level of theory that a file has.

    Attributes:
        key: its datasets are ``<key>.energy`` and so on.
        definition: text or JSON; empty if not given.
    """

    key: str
    definition: str


def stored_levels(path: Path) -> dict[str, StoredLevel]:
    """Returns the levels of a file by canonical name.

    Raises:
        DataError: not HDF5, or its attributes are damaged.
    """
    with open_hdf5(path) as handle:
        levels = json_attribute(handle, "levels", path)
        definitions = json_attribute(handle, "definitions", path)
    return {
        canonical_level(str(name)): StoredLevel(key=key, definition=str(definitions.get(key, "")))
        for key, name in levels.items()
    }


def is_native(path: Path) -> bool:
    """Whether a file is HDF5 with geometries in the native layout."""
    if not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as handle:
        return "units" in handle.attrs and any(True for _ in geometry_groups(handle))


def geometry_groups(handle: h5py.File) -> Iterator[h5py.Group]:
    """Yields the groups that hold geometries, in the file's order."""
    found: list[h5py.Group] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Group) and {"atomic_numbers", "coordinates"} <= item.keys():
            found.append(item)

    if {"atomic_numbers", "coordinates"} <= handle.keys():
        found.append(handle)
    handle.visititems(visit)
    yield from found


def group_systems(group: h5py.Group, path: Path) -> list[System]:
    """Returns the geometries of a group, one for each row.

    Raises:
        DataError: arrays that do not fit together.
    """
    units: Mapping[str, Any] = json_attribute(group.file, "units", path)
    factor = length_factor(str(units.get("coordinates", "angstrom")))
    numbers = np.asarray(group["atomic_numbers"], dtype=np.int64)
    positions = np.asarray(group["coordinates"], dtype=np.float64) * factor
    if positions.ndim != 3 or positions.shape[1:] != (len(numbers), 3):
        raise DataError(
            f"{path}:{group.name}: coordinates have shape {positions.shape}, expected "
            f"(frames, {len(numbers)}, 3)"
        )
    n = len(positions)
    cells = _rows(group, "cell", n, NO_CELL).astype(np.float64) * factor
    pbc = _rows(group, "pbc", n, NO_PBC).astype(bool)
    charge, spin = _rows(group, "charge", n, np.array(0)), _rows(group, "spin", n, np.array(1))
    return [
        System(
            atomic_numbers=numbers,
            positions=positions[k],
            cell=cells[k],
            pbc=pbc[k],
            charge=round(float(charge[k])),
            spin=round(float(spin[k])),
        )
        for k in range(n)
    ]


def _rows(group: h5py.Group, key: str, n: int, default: NDArray) -> NDArray:
    """One value for each row, whether stored so, once, or not at all."""
    value = default if key not in group else np.asarray(group[key])
    if value.shape == (n, *default.shape):
        return value
    try:
        return np.broadcast_to(value.reshape(default.shape), (n, *default.shape))
    except ValueError:
        raise DataError(
            f"{group.file.filename}:{group.name}: {key!r} has shape {value.shape}, expected "
            f"{default.shape} or {(n, *default.shape)}"
        ) from None
