"""The geometries of a file in the native layout, with or without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from tlpot.data import (
    OPTIONAL,
    UNITS,
    DataSpec,
    Decoder,
    HDF5Store,
    MemoryStore,
    Problem,
    Section,
    UnitSpec,
    geometry_groups,
    json_attribute,
    open_hdf5,
    printable,
)
from tlpot.errors import DataError
from tlpot.levels import canonical_level
from tlpot.system import NO_CELL, NO_PBC, System


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
        canonical_level(str(name)): StoredLevel(key=key, definition=_text(definitions.get(key, "")))
        for key, name in levels.items()
    }


def _text(definition: object) -> str:
    """Returns a definition; several of them, as one text that no engine's is equal to."""
    return "; ".join(map(str, definition)) if isinstance(definition, list) else str(definition)


def is_native(path: Path) -> bool:
    """Whether a file is HDF5 with geometries in the native layout."""
    if not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as handle:
        return "units" in handle.attrs and any(True for _ in geometry_groups(handle))


def group_systems(group: h5py.Group, path: Path) -> list[System]:
    """Returns the geometries of a group, one for each row, read as `open_dataset` reads them.

    Raises:
        DataError: arrays that do not fit together or hold what they should not.
    """
    units: Mapping[str, Any] = json_attribute(group.file, "units", path)
    store = _GroupStore(group, path)
    (section,) = store.sections
    if len(section.shapes["atomic_numbers"]) != 1:
        raise DataError(
            f"{section.label}: 'atomic_numbers' has one row for each frame; labels are added to "
            "groups of one molecule, which 'tlpot data convert' makes"
        )
    optional = {key: key for key in OPTIONAL if key in section.shapes}
    spec = DataSpec(
        container="hdf5",
        units=UnitSpec(
            coordinates=str(units.get("coordinates", "angstrom")), energy=UNITS["energy"]
        ),
        unlabelled=True,
        **cast(dict[str, Any], optional),
    )
    decoder = Decoder(store, spec)
    n = decoder.n_rows(0)
    geometry = decoder.geometry(0, slice(0, n))
    return [
        System(
            atomic_numbers=geometry.numbers,
            positions=geometry.positions[k],
            cell=NO_CELL if geometry.cell is None else geometry.cell[k],
            pbc=NO_PBC if geometry.pbc is None else geometry.pbc[k],
            charge=int(geometry.charge[k]),
            spin=int(geometry.spin[k]),
        )
        for k in range(n)
    ]


def geometry_problems(path: Path) -> list[Problem]:
    """Reports groups that `geometry_groups` passes over, and cells that count for nothing."""
    store = HDF5Store(path, "atomic_numbers", "coordinates")
    held = {key for section in store.sections for key in section.shapes}
    spec = DataSpec(
        container="hdf5",
        units=UnitSpec(coordinates="angstrom", energy=UNITS["energy"]),
        unlabelled=True,
        cell="cell" if "cell" in held else None,
        pbc="pbc" if "pbc" in held else None,
    )
    return [*store.problems, *Decoder(store, spec).cell_problems()]


class _GroupStore(MemoryStore):
    """One group of an open file."""

    def __init__(self, group: h5py.Group, path: Path) -> None:
        names = [name for name in ("atomic_numbers", "coordinates", *OPTIONAL) if name in group]
        columns = {
            name: np.zeros(0) if group[name].shape is None else np.asarray(group[name][()])
            for name in names
        }
        section = Section(
            group=None,
            label=f"{path.name}:{printable(group.name)}",
            shapes={name: column.shape for name, column in columns.items()},
        )
        super().__init__(path, [section], [columns])
