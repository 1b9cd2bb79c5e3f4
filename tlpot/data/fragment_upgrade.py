"""Fragment files of tlpot 0.1, whose layout was one of their own, as files in the native layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.errors import DataError, nearest
from tlpot.levels import canonical_level

SCHEMA = "tlpot-fragments"
VERSION = 1
_ABOUT = ("definition", "method", "basis", "program", "version")
_SOURCES = ("source", "trajectory", "frame", "scheme", "residues", "seed")
_QUANTITIES = ("coordinates", "energy", "forces")


def is_earlier(handle: h5py.File, path: Path) -> bool:
    """Whether a file is in the layout that fragment files once had.

    Raises:
        DataError: its root attribute ``schema`` is another of tlpot's.
    """
    schema = handle.attrs.get("schema")
    schema = schema.decode() if isinstance(schema, bytes) else schema
    if isinstance(schema, str) and schema.startswith("tlpot") and schema != SCHEMA:
        raise DataError(
            f"{path}: root attribute 'schema' is {schema!r}, expected {SCHEMA!r}; was the file "
            "written by a newer tlpot?"
        )
    return isinstance(schema, str) and schema == SCHEMA


def upgrade(old: h5py.File, new: h5py.File, path: Path) -> None:
    """Writes all that an earlier fragment file holds into an empty file, in the native layout.

    Labels that few rows had, with an index, become arrays of all rows with NaN elsewhere; what
    ``/sources`` says of each row becomes arrays beside the coordinates.

    Args:
        old: the earlier file.
        new: an empty one.
        path: of the earlier one, for messages.

    Raises:
        DataError: it is damaged or not as that layout wants it; file and key are named.
    """
    version = old.attrs.get("schema_version")
    if version != VERSION:
        raise DataError(f"{path}: root attribute 'schema_version' is {version}, expected 1")
    for name in ("fragments", "sources", "levels"):
        if not isinstance(old.get(name), h5py.Group):
            raise DataError(
                f"{path} has no group /{name}; was the program that wrote it interrupted?"
            )
    levels, atoms, definitions = _levels(old, path)
    about = {
        name: _parsed(value)
        for name, value in old.attrs.items()
        if name not in ("schema", "schema_version", "units", "created_by")
    }
    root = {
        "levels": levels,
        "units": _units(old, path),
        "isolated_atoms": atoms,
        "definitions": definitions,
        "fragments": about,
    }
    new.attrs["layout"] = "ani1x"
    new.attrs.update({name: json.dumps(value) for name, value in root.items()})
    sources = {name: _array(old["sources"], name, path, "iuO", (None,)) for name in _SOURCES}
    if len({len(column) for column in sources.values()}) != 1:
        raise DataError(f"{path}:/sources: its lists have different lengths")
    for group in old["fragments"].values():
        _upgrade_kind(group, new.create_group(group.name), path, levels, sources)
    _upgrade_splits(old.get("splits", {}), new, path)
    if "proteins" in old:
        old.copy("proteins", new)


def _levels(
    old: h5py.File, path: Path
) -> tuple[dict[str, str], dict[str, dict[str, float]], dict[str, str]]:
    """Returns names and definitions by key, and energies of free atoms by symbol and dataset."""
    names: dict[str, str] = {}
    atoms: dict[str, dict[str, float]] = {}
    definitions: dict[str, str] = {}
    for key, group in old["levels"].items():
        name = group.attrs.get("name")
        if not isinstance(name, str):
            raise DataError(f"{path}:/levels/{key} has no attribute 'name', the level of theory")
        if canonical_level(name) in names.values():
            raise DataError(f"{path}:/levels/{key}: attribute 'name' gives {name!r} a second time")
        names[key] = canonical_level(name)
        about = (str(group.attrs[name]) for name in _ABOUT if group.attrs.get(name))
        definitions[key] = ", ".join(about)
        if "e0" not in group:
            continue
        table = _array(group, "e0", path, "V", (None,))
        if set(table.dtype.names or ()) != {"z", "energy"}:
            raise DataError(f"{path}:{group.name}/e0: expected columns 'z' and 'energy'")
        for z, energy in zip(table["z"].tolist(), table["energy"].tolist(), strict=True):
            if not 0 < z < len(chemical_symbols) or not np.isfinite(energy):
                raise DataError(f"{path}:{group.name}/e0 has {energy} for the atomic number {z}")
            atoms.setdefault(chemical_symbols[z], {})[f"{key}.energy"] = energy
    return names, atoms, definitions


def _units(old: h5py.File, path: Path) -> dict[str, str]:
    text = old.attrs.get("units")
    units = _parsed(text)
    if not isinstance(units, dict) or not units.keys() >= set(_QUANTITIES):
        raise DataError(
            f"{path}: root attribute 'units' is {text!r}, expected JSON with "
            f"{', '.join(_QUANTITIES)}"
        )
    return {name: str(units[name]) for name in _QUANTITIES}


def _upgrade_kind(
    old: h5py.Group,
    new: h5py.Group,
    path: Path,
    levels: Mapping[str, str],
    sources: Mapping[str, NDArray],
) -> None:
    positions = _array(old, "positions", path, "f", (None, None, 3))
    m, n = positions.shape[:2]
    is_cap = _array(old, "is_cap", path, "biu", (n,)).astype(bool)
    n_caps = (int(is_cap.sum()),)
    hosts = _array(old, "cap_host", path, "iu", n_caps, n)
    replaced = _array(old, "cap_gone_element", path, "iu", n_caps)
    source = _array(old, "source", path, "iu", (m,), len(sources["source"]))
    for name in ("name", "charge", "multiplicity"):
        if name not in old.attrs:
            raise DataError(f"{path}:{old.name} has no attribute {name!r}")
    new.attrs["molecule"] = old.name.rpartition("/")[2]
    new.attrs["kind"] = old.attrs["name"]
    new.attrs["bonds"] = _array(old, "bonds", path, "iu", (None, 2), n).astype(np.int32)
    caps = [np.flatnonzero(is_cap), hosts, replaced]
    new.attrs["caps"] = np.stack(caps, axis=1).astype(np.int32)
    new.attrs["unit_id"] = _array(old, "unit_id", path, "iu", (n,)).astype(np.int32)
    new["atomic_numbers"] = _array(old, "numbers", path, "iu", (n,))
    columns = {
        "coordinates": positions,
        "weight": _array(old, "weight", path, "f", (m,)),
        "charge": np.full(m, old.attrs["charge"]),
        "spin": np.full(m, old.attrs["multiplicity"]),
        **{name: column[source] for name, column in sources.items()},
    }
    for key in (key for key, item in old.items() if isinstance(item, h5py.Group)):
        if key not in levels:
            raise DataError(
                f"{path}:{old.name}/{key}: there is no /levels/{key}, so the level of theory of "
                f"these labels is not known{nearest(key, levels)}"
            )
        index = _array(old[key], "index", path, "iu", (None,), m)
        if (np.diff(index.astype(np.int64)) <= 0).any():
            raise DataError(f"{path}:{old[key].name}: 'index' is not ascending")
        energy = _array(old[key], "energy", path, "f", index.shape)
        if energy.dtype.itemsize < 8 or not np.isfinite(energy).all():
            raise DataError(f"{path}:{old[key].name}: 'energy' must be finite numbers of 64 bits")
        columns[f"{key}.energy"] = _spread(index, energy, m)
        if "forces" in old[key]:
            forces = _array(old[key], "forces", path, "f", (len(index), n, 3))
            columns[f"{key}.forces"] = _spread(index, forces, m)
    for name, column in columns.items():
        _create(new, name, column)


def _upgrade_splits(old: Mapping[str, h5py.Group], new: h5py.File, path: Path) -> None:
    """Turns lists of rows into one text for each row: the part that it is in, or nothing."""
    about = {}
    for name, split in old.items():
        about[name] = {"by": str(split.attrs["by"]), "seed": int(split.attrs["seed"])}
        for key, group in new["fragments"].items():
            m = len(group["coordinates"])
            parts = np.full(m, b"", dtype=object)
            for stored, part in (("train", b"train"), ("valid", b"validation"), ("test", b"test")):
                if key in split and stored in split[key]:
                    parts[_array(split[key], stored, path, "iu", (None,), m)] = part
            _create(group, f"split.{name}", parts.astype(h5py.string_dtype()))
    if about:
        new.attrs["splits"] = json.dumps(about)


def _spread(index: NDArray, values: NDArray, m: int) -> NDArray:
    column = np.full((m, *values.shape[1:]), np.nan, dtype=values.dtype)
    column[index] = values
    return column


def _create(group: h5py.Group, name: str, column: NDArray) -> None:
    if column.dtype.kind == "O":
        column = column.astype(h5py.string_dtype())
    group.create_dataset(
        name,
        data=column,
        maxshape=(None, *column.shape[1:]),
        chunks=True,
        compression="gzip",
        shuffle=True,
        fillvalue=np.nan if column.dtype.kind == "f" else None,
    )


def _array(
    group: h5py.Group,
    name: str,
    path: Path,
    types: str,
    shape: tuple[int | None, ...],
    below: int | None = None,
) -> NDArray:
    """Returns a dataset whose type, shape (None: any) and largest value fit."""
    where = f"{path}:{group.name}"
    if not isinstance(group.get(name), h5py.Dataset):
        raise DataError(f"{where} has no dataset {name!r}{nearest(name, group)}")
    try:
        values: NDArray = group[name][()]
    except OSError as error:
        raise DataError(f"{where}: cannot read {name!r} ({error}); the file is damaged") from error
    fits = len(values.shape) == len(shape) and all(
        b is None or a == b for a, b in zip(values.shape, shape, strict=True)
    )
    if values.dtype.kind not in types or not fits:
        wanted = str(tuple("any" if x is None else x for x in shape)).replace("'", "")
        raise DataError(
            f"{where}: {name!r} holds {values.dtype} of shape {values.shape}, expected type "
            f"{types!r} and shape {wanted}"
        )
    if below is not None and values.size and not 0 <= values.min() <= values.max() < below:
        raise DataError(
            f"{where}: {name!r} names {values.max()}, but what it counts ends before {below}"
        )
    return values


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text
