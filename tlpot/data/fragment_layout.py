"""The layout of fragment files: what must be there, and what it must look like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.data.hdf5 import open_hdf5
from tlpot.errors import DataError, nearest
from tlpot.levels import canonical_level


@dataclass(frozen=True, kw_only=True)
class FragmentKind:
    """A capped molecular graph in canonical order of its atoms.

    Attributes:
        key: name of the group in a file; kinds with the same key are the same molecule.
        name: for people, such as ``ACE-ALA-NME``.
        charge: formal charge, e.
        multiplicity: 2S + 1.
        atomic_numbers: [n], int64; caps are last.
        is_cap: [n], bool.
        cap_host: [n_caps], the atom that each cap is bound to.
        cap_gone: [n_caps], atomic number of the atom that each cap replaces.
        bonds: [n_bonds, 2], int64, those of the caps included; the smaller index first, sorted.
        unit_id: [n], which unit of the protein an atom belongs to, numbered from 0 on; that of
            a cap is its host's.
    """

    key: str
    name: str
    charge: int
    multiplicity: int = 1
    atomic_numbers: NDArray[np.int64]
    is_cap: NDArray[np.bool_]
    cap_host: NDArray[np.int64]
    cap_gone: NDArray[np.int64]
    bonds: NDArray[np.int64]
    unit_id: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.atomic_numbers)

    def is_same_graph(self, other: FragmentKind) -> bool:
        """Whether elements, caps, charge and bonds are equal atom by atom."""
        return (self.charge, self.multiplicity) == (other.charge, other.multiplicity) and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("atomic_numbers", "is_cap", "cap_host", "cap_gone", "bonds")
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentSource:
    """Where a fragment was cut out.

    Attributes:
        source: the protein; a split by source keeps all its fragments together.
        trajectory: the run that the frame is from, if there are several.
        frame: number of the frame.
        scheme: name of the fragment scheme.
        residues: the residues that it has atoms of.
        seed: of the choice among many geometries; -1 where none was made.
    """

    source: str
    trajectory: str = ""
    frame: int = 0
    scheme: str = ""
    residues: str = ""
    seed: int = -1


@dataclass(frozen=True, kw_only=True)
class FragmentRows:
    """Geometries of one kind.

    Attributes:
        kind: what they are.
        positions: [m, n, 3], Å, in the order of the kind's atoms.
        sources: where each is from.
        weight: [m], coefficient of each in the energy of its source.
    """

    kind: FragmentKind
    positions: NDArray[np.float64]
    sources: tuple[FragmentSource, ...]
    weight: NDArray[np.float64]


SCHEMA = "tlpot-fragments"
VERSION = 1
UNITS = {"coordinates": "angstrom", "energy": "ev", "forces": "ev/angstrom"}

SOURCE_COLUMNS = ("source", "trajectory", "frame", "scheme", "residues", "seed")
"""Datasets of ``/sources``, one value for each source."""

_KINDS = {
    "numbers": "iu",
    "is_cap": "biu",
    "cap_host": "iu",
    "cap_gone_element": "iu",
    "bonds": "iu",
    "unit_id": "iu",
    "positions": "f",
    "source": "iu",
    "weight": "f",
}
"""Datasets of a kind of fragment, and which types of numbers they may hold."""


def is_fragment_file(path: Path) -> bool:
    """Whether a file is HDF5 whose root says that it holds fragments.

    Raises:
        DataError: it is HDF5 of tlpot's with a schema that is not known, or truncated.
    """
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as handle:
        schema = handle.attrs.get("schema")
    schema = schema.decode() if isinstance(schema, bytes) else schema
    if isinstance(schema, str) and schema.startswith("tlpot") and schema != SCHEMA:
        raise DataError(
            f"{path}: root attribute 'schema' is {schema!r}, expected {SCHEMA!r}; was the file "
            "written by a newer tlpot?"
        )
    return isinstance(schema, str) and schema == SCHEMA


def check_version(handle: h5py.File, path: Path) -> None:
    """Checks that this tlpot can read the file.

    Raises:
        DataError: no version, or a newer one.
    """
    version = handle.attrs.get("schema_version")
    if not isinstance(version, int | np.integer) or version < 1:
        raise DataError(
            f"{path}: root attribute 'schema_version' is {version!r}, expected a whole number"
        )
    if version > VERSION:
        raise DataError(
            f"{path}: root attribute 'schema_version' is {version}, but this tlpot reads up to "
            f"{VERSION}; install a newer one"
        )
    for name in ("fragments", "sources", "levels"):
        if not isinstance(handle.get(name), h5py.Group):
            raise DataError(
                f"{path} has no group /{name}; was the program that wrote it interrupted?"
            )


def read_units(handle: h5py.File, path: Path) -> dict[str, str]:
    """Returns the units by quantity.

    Raises:
        DataError: the attribute is missing, not JSON, or lacks a quantity.
    """
    text = handle.attrs.get("units")
    try:
        units = json.loads(text)
    except (TypeError, ValueError):
        units = None
    if not isinstance(units, dict):
        raise DataError(
            f"{path}: root attribute 'units' is {text!r}, expected JSON such as {json.dumps(UNITS)}"
        )
    for name in UNITS:
        if name not in units:
            raise DataError(f"{path}: root attribute 'units' does not give the unit of {name!r}")
    return {name: str(units[name]) for name in UNITS}


def level_names(handle: h5py.File, path: Path) -> dict[str, str]:
    """Returns the level of theory by its key in the file.

    Raises:
        DataError: a level has no name, or two have the same.
    """
    found: dict[str, str] = {}
    for key, group in handle["levels"].items():
        name = group.attrs.get("name")
        if not isinstance(name, str):
            raise DataError(f"{path}:/levels/{key} has no attribute 'name', the level of theory")
        level = canonical_level(name)
        if level in found.values():
            raise DataError(f"{path}:/levels/{key}: attribute 'name' gives {level!r} a second time")
        found[key] = level
    return found


def read_e0(group: h5py.Group, path: Path) -> dict[int, float]:
    """Returns the energies of free atoms by atomic number, in the file's unit.

    Raises:
        DataError: the table has other columns, an unknown element, or NaN.
    """
    if "e0" not in group:
        return {}
    table = read_array(group, "e0", path)
    where = f"{path}:{group.name}/e0"
    if table.dtype.names is None or set(table.dtype.names) != {"z", "energy"}:
        raise DataError(f"{where} has columns {table.dtype.names}, expected 'z' and 'energy'")
    if not np.isfinite(table["energy"]).all():
        raise DataError(f"{where} holds NaN or infinity")
    if table.size and not 0 < table["z"].min() <= table["z"].max() < len(chemical_symbols):
        raise DataError(f"{where} holds a number that is no atomic number")
    return {int(z): float(energy) for z, energy in zip(table["z"], table["energy"], strict=True)}


def read_kind(group: h5py.Group, path: Path) -> FragmentKind:
    """Returns the kind that a group of ``/fragments`` is for.

    Raises:
        DataError: something is missing or does not fit together.
    """
    check_arrays(group, path)
    where = f"{path}:{group.name}"
    for name in ("name", "charge", "multiplicity"):
        if name not in group.attrs:
            raise DataError(f"{where} has no attribute {name!r}")
    arrays = {name: read_array(group, name, path) for name in list(_KINDS)[:6]}
    kind = FragmentKind(
        key=group.name.rpartition("/")[2],
        name=str(group.attrs["name"]),
        charge=_whole(group.attrs, "charge", where),
        multiplicity=_whole(group.attrs, "multiplicity", where),
        atomic_numbers=arrays["numbers"].astype(np.int64),
        is_cap=arrays["is_cap"].astype(bool),
        cap_host=arrays["cap_host"].astype(np.int64),
        cap_gone=arrays["cap_gone_element"].astype(np.int64),
        bonds=arrays["bonds"].astype(np.int64),
        unit_id=arrays["unit_id"].astype(np.int64),
    )
    n, n_caps = len(kind), int(kind.is_cap.sum())
    for name in ("cap_host", "cap_gone_element"):
        if len(arrays[name]) != n_caps:
            raise DataError(
                f"{where}: {name!r} has {len(arrays[name])} values, but 'is_cap' marks {n_caps} "
                "caps"
            )
    for name in ("cap_host", "bonds"):
        values = arrays[name]
        if values.size and not 0 <= values.min() <= values.max() < n:
            raise DataError(f"{where}: {name!r} names an atom that is not among the {n}")
    return kind


def check_arrays(group: h5py.Group, path: Path) -> None:
    """Checks that the arrays of a kind are there and have the right types and shapes.

    Raises:
        DataError: the array and what it should be are named.
    """
    where = f"{path}:{group.name}"
    for name, types in _KINDS.items():
        if not isinstance(group.get(name), h5py.Dataset):
            raise DataError(f"{where} has no dataset {name!r}{nearest(name, group)}")
        if group[name].dtype.kind not in types:
            raise DataError(
                f"{where}: {name!r} holds {group[name].dtype}, expected "
                f"{'real' if types == 'f' else 'whole'} numbers"
            )
    shape = group["positions"].shape
    if len(shape) != 3 or shape[2] != 3:
        raise DataError(f"{where}: 'positions' has shape {shape}, expected (frames, atoms, 3)")
    m, n = shape[:2]
    expected: Mapping[str, tuple[int | None, ...]] = {
        "numbers": (n,), "is_cap": (n,), "unit_id": (n,), "source": (m,), "weight": (m,),
        "bonds": (None, 2), "cap_host": (None,), "cap_gone_element": (None,),
    }  # fmt: skip
    for name, wanted in expected.items():
        check_shape(group[name], wanted, where, f"{m} frames of {n} atoms")


def check_shape(
    dataset: h5py.Dataset, wanted: tuple[int | None, ...], where: str, because: str
) -> None:
    """Checks a shape, in which None stands for any number.

    Raises:
        DataError: it is another.
    """
    shape = dataset.shape
    fits = len(shape) == len(wanted) and all(
        b is None or a == b for a, b in zip(shape, wanted, strict=True)
    )
    if not fits:
        text = str(tuple("any" if x is None else x for x in wanted)).replace("'", "")
        name = dataset.name.rpartition("/")[2]
        raise DataError(f"{where}: {name!r} has shape {shape}, but {because} need {text}")


def label_index(
    group: h5py.Group, key: str, path: Path, levels: Mapping[str, str]
) -> NDArray[np.int64]:
    """Returns the rows of a kind that carry labels of a level, ascending, after checking these.

    Args:
        group: of the kind.
        key: of the level.
        path: of the file, for messages.
        levels: those of the file by key.

    Raises:
        DataError: the level is not described, or its arrays are missing or do not fit.
    """
    own = group[key]
    where = f"{path}:{own.name}"
    if key not in levels:
        raise DataError(
            f"{where}: there is no /levels/{key}, so the level of theory of these labels is not "
            f"known{nearest(key, levels)}"
        )
    for name in ("index", "energy"):
        if not isinstance(own.get(name), h5py.Dataset):
            raise DataError(f"{where} has no dataset {name!r}{nearest(name, own)}")
    m, n = group["positions"].shape[:2]
    if own["index"].dtype.kind not in "iu" or own["index"].ndim != 1:
        raise DataError(f"{where}: 'index' must be a list of row numbers")
    index = read_array(own, "index", path).astype(np.int64)
    if index.size and not 0 <= index.min() <= index.max() < m:
        raise DataError(f"{where}: 'index' names row {index.max()}, but there are {m} frames")
    if (np.diff(index) <= 0).any():
        raise DataError(f"{where}: 'index' is not ascending, or names a row twice")
    check_shape(own["energy"], (len(index),), where, f"{len(index)} rows of 'index'")
    energies = read_array(own, "energy", path)
    if energies.dtype.kind != "f" or energies.dtype.itemsize < 8:
        raise DataError(f"{where}: 'energy' holds {energies.dtype}, expected float64")
    if not np.isfinite(energies).all():
        row = int(index[~np.isfinite(energies)][0])
        raise DataError(
            f"{where}: 'energy' of row {row} is not finite; leave rows without a label out of "
            "'index'"
        )
    if "forces" in own:
        check_shape(own["forces"], (len(index), n, 3), where, f"{len(index)} rows of {n} atoms")
    return index


def read_array(group: h5py.Group, name: str, path: Path, rows: slice | None = None) -> NDArray:
    """Returns a dataset, or some of its rows.

    Raises:
        DataError: the file is damaged.
    """
    try:
        return group[name][() if rows is None else rows]
    except (OSError, KeyError) as error:
        raise DataError(
            f"{path}:{group.name}: cannot read {name!r} ({error}); the file is damaged or was "
            "changed while open"
        ) from error


def _whole(attributes: Mapping[str, Any], name: str, where: str) -> int:
    value = attributes[name]
    if not isinstance(value, int | np.integer):
        raise DataError(f"{where}: attribute {name!r} is {value!r}, expected a whole number")
    return int(value)
