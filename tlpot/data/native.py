"""tlpot's own layout, read and written: ANI-1x groups with levels and units as attributes.

A property is an array ``level.property`` (``hse06.gap``), described by the root attribute
``properties``: its target (``gap@hse06``), unit, whether it is extensive, and its kind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.units import Hartree
from numpy.typing import NDArray

from tlpot.config import to_mapping
from tlpot.data.dataset import FRAMES_AT_ONCE, Dataset, Frame, LevelInfo
from tlpot.data.hdf5 import (
    GroupWalk,
    dataset_names,
    json_attribute,
    molecule_name,
    open_hdf5,
    raw_name,
    written_hdf5,
)
from tlpot.data.spec import DataSpec, LevelSpec, UnitSpec, undescribed
from tlpot.data.summary import definitions_of
from tlpot.errors import ConfigError, DataError, nearest
from tlpot.levels import canonical_level
from tlpot.targets import is_property, parse_quantity

OPTIONAL = ("cell", "pbc", "charge", "spin")
"""Datasets of a group beside ``atomic_numbers``, ``coordinates`` and labels."""

PROVENANCE = ("source", "trajectory")
"""Datasets of a group, one value per frame, that a split may keep together."""

FRAGMENT_COLUMNS = (*PROVENANCE, "frame", "scheme", "residues", "seed", "weight")
"""Datasets of a group of fragments, one value per frame: where each was cut out."""


def read_native_spec(path: Path) -> DataSpec:
    """Returns the description that a file in the native layout carries in its attributes.

    Raises:
        DataError: not HDF5, the attributes are missing or damaged, or a unit is unknown.
    """
    with open_hdf5(path) as handle:
        attributes = {
            name: json_attribute(handle, name, path)
            for name in (
                "levels", "units", "isolated_atoms", "definitions", "splits", "properties",
                "columns",
            )
        }  # fmt: skip
        fragments = "fragments" in handle.attrs
        unlabelled = fragments or "levels" in handle.attrs
        present = dataset_names(handle, path)
        parents = dataset_names(handle["proteins"], path) if "proteins" in handle else set()
    for name in ("levels", "units"):
        known = unlabelled or attributes["properties"]
        if not attributes[name] and not (name == "levels" and known):
            with open_hdf5(path) as handle:
                arrays = {key for _, _, shapes in GroupWalk(handle, path) for key in shapes}
            raise DataError(
                f"{path} has no root attribute {name!r}, so its {name} are not known; "
                f"{undescribed('hdf5', arrays)}"
            )
    units, atoms = attributes["units"], attributes["isolated_atoms"]
    energies = {f"{key}.energy" for key in attributes["levels"]}
    _check_atoms(path, atoms, energies | {name for name in present if name.endswith("energy")})
    levels: dict[str, LevelSpec] = {}
    for key, name in attributes["levels"].items():
        level = canonical_level(str(name))
        if level in levels:
            raise DataError(f"{path}: attribute 'levels' names {level!r} twice")
        levels[level] = LevelSpec(
            energy=f"{key}.energy",
            forces=f"{key}.forces" if f"{key}.forces" in present else None,
            stress=f"{key}.stress" if f"{key}.stress" in present else None,
            isolated_atoms={
                symbol: float(energies[f"{key}.energy"])
                for symbol, energies in atoms.items()
                if f"{key}.energy" in energies
            },
            definition=next(iter(definitions := _definitions(attributes, key)), ""),
            other_definitions=definitions[1:],
        )
    levels |= _properties(path, attributes)
    columns = [f"{key}.cost" for key in attributes["levels"]]  # what tlpot label spent on each
    columns += [f"split.{name}" for name in attributes["splits"]]
    columns += [*FRAGMENT_COLUMNS, *sorted(parents)] if fragments else PROVENANCE
    columns += [name for name in attributes["columns"] if name not in columns]
    # parts of an energy, say, of which the file states what they are and that they are no level
    parts = {*attributes["definitions"]} - {*attributes["levels"]}
    unread = sorted(name for name in present if name.rpartition(".")[0] in parts)
    needed = ["coordinates"]
    if any(level.energy for level in levels.values()) or not levels:
        needed.append("energy")
    needed += [
        kind for kind in ("forces", "stress") if any(getattr(x, kind) for x in levels.values())
    ]
    for quantity in needed:
        if quantity not in units:
            raise DataError(
                f"{path}: attribute 'units' does not give the unit of {quantity!r}; "
                'add it, for example "hartree" for energy'
            )
    try:
        return DataSpec(
            container="hdf5",
            units=UnitSpec(**cast(dict[str, Any], {name: str(units[name]) for name in needed})),
            sign="force",
            levels=levels,
            columns=tuple(name for name in columns if name in present),
            unread=tuple(unread),
            unlabelled=unlabelled and (fragments or not levels),
            **cast(dict[str, Any], {name: name for name in OPTIONAL if name in present}),
        )
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from error


def _properties(path: Path, attributes: Mapping[str, Any]) -> dict[str, LevelSpec]:
    """Returns where the properties are that the root attribute ``properties`` names."""
    found: dict[str, LevelSpec] = {}
    for key, said in attributes["properties"].items():
        where = f"{path}: attribute 'properties': {key!r}"
        if not isinstance(said, Mapping) or "target" not in said:
            raise DataError(f"{where} does not say which property it is (target)")
        name = str(said["target"])
        try:
            quantity = parse_quantity({k: v for k, v in said.items() if k != "target"}, where)
        except ConfigError as error:
            raise DataError(str(error)) from error
        if name in found:
            raise DataError(f"{path}: attribute 'properties' names {name!r} twice")
        found[name] = LevelSpec(
            value=str(key),
            unit=quantity.unit,
            extensive=quantity.extensive,
            kind=quantity.kind,
            definition=next(iter(definitions := _definitions(attributes, key)), ""),
            other_definitions=definitions[1:],
        )
    return found


def geometry_groups(handle: h5py.File) -> Iterator[h5py.Group]:
    """Yields the groups that hold geometries; those without any frame are passed over.

    Raises:
        DataError: a link leads nowhere, or into another file, where labels would be written.
    """
    path = Path(handle.filename)
    walk = GroupWalk(handle, path)
    found = [
        handle[raw_name(name or "/")]
        for name, _, shapes in walk
        if {"atomic_numbers", "coordinates"} <= shapes.keys() and 0 not in shapes["coordinates"][:1]
    ]
    if walk.linked:
        raise DataError(
            f"{path} has part of its content in {sorted(walk.linked)[0]}, where labels would be "
            "written, too; make one file of them with 'tlpot data convert' first"
        )
    yield from found


def groups_by_name(handle: h5py.File) -> dict[str, h5py.Group]:
    """Returns the groups that hold geometries, in the order of their frames in a dataset.

    A group goes by the name of its molecule, or by its path where two are of one molecule.

    Raises:
        DataError: see `geometry_groups`.
    """
    found: dict[str, h5py.Group] = {}
    for group in geometry_groups(handle):
        path = group.name.strip("/")
        name = molecule_name(group, path)
        found[path if name in found else name] = group
    return found


def _definitions(attributes: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Returns how the labels of a level were computed: text, or a list where there are several."""
    said = attributes["definitions"].get(key, "")
    texts = said if isinstance(said, list) else [said]
    return tuple(dict.fromkeys(str(text) for text in texts if text))


def _check_atoms(path: Path, atoms: Mapping[str, Any], known: set[str]) -> None:
    """Refuses free atoms that would be passed over without a word."""
    for symbol, energies in atoms.items():
        if symbol not in atomic_numbers:
            raise DataError(f"{path}: attribute 'isolated_atoms': {symbol!r} is not an element")
        if not isinstance(energies, Mapping):
            raise DataError(
                f"{path}: attribute 'isolated_atoms' has {energies!r} for {symbol}, expected the "
                'energy by dataset, as {"H": {"LEVEL.energy": -0.5}}'
            )
        for name in sorted(energies.keys() - known):
            raise DataError(
                f"{path}: attribute 'isolated_atoms' has an energy of {symbol} for {name!r}, and "
                f"the file has no such dataset{nearest(name, sorted(known))}"
            )


UNITS = {
    "coordinates": "angstrom",
    "energy": "hartree",
    "forces": "hartree/angstrom",
    "stress": "hartree/angstrom^3",
}
"""Those of ANI-1x, so that its readers need no conversion."""

GROUP_ATTRIBUTES = ("smiles", "kind")
"""What a group that is no fragment may say of its molecule, whatever the order of its atoms."""

_CHUNK_BYTES = 1 << 16


def write_dataset(
    dataset: Dataset,
    path: str | os.PathLike[str],
    *,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Writes a dataset in the native layout: ANI-1x groups, units and levels as attributes.

    Where a frame is from (`tlpot.data.native.PROVENANCE`) is written if the dataset says so.
    Frames are streamed, so the dataset may be larger than memory. The frames of one molecule
    keep their order; a molecule whose atoms come in several orders becomes several groups.

    Args:
        dataset: what to write.
        path: the HDF5 file.
        progress: called with the number of frames done since the last call.

    Raises:
        DataError: two levels have names that cannot be told apart in a file, or a label is damaged.
        OutputError: the file could not be written; an existing one is left as it was.
    """
    keys = _level_keys(dataset.levels)
    about = _about(dataset)
    columns = _columns(dataset, about)
    with written_hdf5(path) as handle:
        handle.attrs.update(_attributes(dataset, keys))
        handle.attrs.update(about)
        names: dict[tuple[str, bytes], str] = {}
        for start in range(0, len(dataset), FRAMES_AT_ONCE):
            stop = min(start + FRAMES_AT_ONCE, len(dataset))
            runs: dict[str, list[Frame]] = {}
            members: dict[str, list[int]] = {}
            for k, frame in enumerate(dataset.read(range(start, stop)), start):
                if frame.damaged:
                    raise DataError(f"{frame.name}: {frame.damaged[0]}")
                name = _group_name(frame, names)
                runs.setdefault(name, []).append(frame)
                members.setdefault(name, []).append(k)
            for name, frames in runs.items():
                group = handle.require_group(name)
                if not group.attrs:
                    said = dataset.attributes(frames[0].group)
                    kept = said if "fragments" in about else said.keys() & set(GROUP_ATTRIBUTES)
                    group.attrs.update({key: said[key] for key in kept})
                more = {key: values[members[name]] for key, values in columns.items()}
                _append(group, frames, keys, more)
            if progress is not None:
                progress(stop - start)


def write_structures(frames: Iterable[Frame], path: str | os.PathLike[str]) -> None:
    """Writes geometries without labels in the native layout, for labels to be added.

    Args:
        frames: their labels are not written.
        path: the HDF5 file.

    Raises:
        OutputError: the file could not be written; an existing one is left as it was.
    """
    with written_hdf5(path) as handle:
        handle.attrs.update({"layout": "ani1x", "levels": "{}", "units": json.dumps(UNITS)})
        add_structures(handle, frames)


def add_structures(handle: h5py.File, frames: Iterable[Frame]) -> None:
    """Adds geometries without labels, in Å, to an open file as groups of their own."""
    names: dict[tuple[str, bytes], str] = {}
    runs: dict[str, list[Frame]] = {}
    for frame in frames:
        runs.setdefault(_group_name(frame, names), []).append(frame)
    for name, run in runs.items():
        free, k = name, 1
        while free in handle and "coordinates" in handle[free]:
            k += 1
            free = f"{name}-{k}"
        _append(handle.require_group(free), run, {}, {})


def _level_keys(levels: Iterable[str]) -> dict[str, str]:
    """Returns the key of each level in the file: a dataset's name may not hold a slash."""
    keys = {level: _key(level) for level in levels}
    if len(set(keys.values())) != len(keys):
        raise DataError(f"levels {', '.join(keys)} cannot be told apart in a file")
    return keys


def _key(level: str) -> str:
    """Returns ``wb97x_6-31g*``, or ``hse06.gap`` of the property ``gap@hse06``."""
    name, at, method = level.replace("/", "_").rpartition("@")
    return f"{method}.{name}" if at else method


def _attributes(dataset: Dataset, keys: Mapping[str, str]) -> dict[str, str]:
    atoms: dict[str, dict[str, float]] = {}
    for level, key in keys.items():
        for z, energy in dataset.levels[level].isolated_atoms.items():
            atoms.setdefault(chemical_symbols[z], {})[f"{key}.energy"] = energy / Hartree
    content: dict[str, Any] = {
        "levels": {key: level for level, key in keys.items() if not is_property(level)},
        "units": UNITS,
        "isolated_atoms": atoms,
        "definitions": {
            key: _writer_definitions(dataset.levels[level]) for level, key in keys.items()
        },
    }
    properties = {
        key: {"target": level, **to_mapping(quantity)}
        for level, key in keys.items()
        if (quantity := dataset.levels[level].quantity) is not None
    }
    if properties:
        content["properties"] = properties
    return {"layout": "ani1x", **{name: json.dumps(value) for name, value in content.items()}}


def _writer_definitions(info: LevelInfo) -> str | list[str]:
    """Returns the definition of a level, or a list where labels were computed in several ways."""
    found = definitions_of(info)
    return list(found) if len(found) > 1 else info.definition


def _group_name(frame: Frame, names: dict[tuple[str, bytes], str]) -> str:
    """Returns a group for this molecule and this order of its atoms."""
    kind = frame.group.strip("/"), frame.system.atomic_numbers.tobytes()
    if kind not in names:
        name, k = kind[0], 1
        while (name, b"") in names:
            k += 1
            name = f"{kind[0]}.{k}"
        names[kind] = names[name, b""] = name  # the second says that it is taken
    return names[kind]


def _about(dataset: Dataset) -> dict[str, str]:
    """Returns what a file in the native layout says of fragments and splits, as JSON."""
    root = dataset.attributes()
    about = {x: str(root[x]) for x in ("fragments", "splits") if x in root and "units" in root}
    return about | ({"columns": str(root["columns"])} if "columns" in root else {})


def _columns(dataset: Dataset, about: Mapping[str, str]) -> dict[str, NDArray]:
    """Returns what the dataset says about the origin of each frame, and the parts it is in."""
    names = FRAGMENT_COLUMNS if "fragments" in about else PROVENANCE
    splits = json.loads(about.get("splits", "{}"))
    found = {}
    declared = json.loads(about.get("columns", "{}"))
    for key in (*names, *(f"split.{name}" for name in splits), *declared):
        try:
            column = dataset.column(key)
        except DataError:  # not every dataset says
            continue
        text = key in PROVENANCE or column.dtype.kind == "U"
        found[key] = column.astype(str).astype(h5py.string_dtype()) if text else column
    return found


def _append(
    group: h5py.Group,
    frames: list[Frame],
    keys: Mapping[str, str],
    more: Mapping[str, NDArray],
) -> None:
    systems = [frame.system for frame in frames]
    if "atomic_numbers" not in group:
        group.attrs["molecule"] = frames[0].group
        group["atomic_numbers"] = systems[0].atomic_numbers.astype(np.uint8)
    columns: dict[str, tuple[NDArray, Any]] = {
        "coordinates": (np.stack([system.positions for system in systems]), np.nan)
    }
    if any(system.cell.any() for system in systems):
        columns["cell"] = np.stack([system.cell for system in systems]), 0.0
    if "cell" in columns or any(system.pbc.any() for system in systems):
        columns["pbc"] = np.stack([system.pbc for system in systems]), False
    if any(system.charge for system in systems):
        columns["charge"] = np.array([system.charge for system in systems]), 0
    if any(system.spin != 1 for system in systems):
        columns["spin"] = np.array([system.spin for system in systems]), 1
    for level, key in keys.items():
        labels = _labels(frames, level)
        if is_property(level):
            if "energy" in labels:
                columns[key] = labels["energy"], np.nan
        else:
            columns |= {f"{key}.{kind}": (a / Hartree, np.nan) for kind, a in labels.items()}
    columns |= {name: (values, _absent(values)) for name, values in more.items()}
    append_rows(group, columns)


def append_rows(group: h5py.Group, columns: Mapping[str, tuple[NDArray, Any]]) -> None:
    """Adds frames to a group; what they do not have is filled with what stands for nothing.

    Args:
        group: it may have frames, or none.
        columns: ``coordinates`` and others, with what stands where there is no value.
    """
    n_old = len(group["coordinates"]) if "coordinates" in group else 0
    n_new = len(columns["coordinates"][0])
    for name, (array, absent) in columns.items():
        _extend(group, name, array, absent, n_old)
    for name in group.keys() - columns.keys():
        item = group[name]  # another molecule may lie in the group
        if isinstance(item, h5py.Dataset) and item.maxshape[:1] == (None,):
            item.resize(n_old + n_new, axis=0)


def _absent(values: NDArray) -> Any:
    return np.nan if values.dtype.kind == "f" else None


def _labels(frames: list[Frame], level: str) -> dict[str, NDArray[np.float64]]:
    found = [frame.labels.get(level) for frame in frames]
    n_atoms = len(frames[0].system)
    columns: dict[str, NDArray[np.float64]] = {}
    energy = np.array([np.nan if label is None else label.energy for label in found])
    if np.isfinite(energy).any():
        columns["energy"] = energy
    for kind, shape in (("forces", (n_atoms, 3)), ("stress", (3, 3))):
        values = [None if label is None else getattr(label, kind) for label in found]
        if any(value is not None for value in values):
            nothing = np.full(shape, np.nan)
            columns[kind] = np.stack([nothing if v is None else v for v in values])
    return columns


def make_column(
    group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any, absent: Any
) -> h5py.Dataset:
    """Makes an array that can grow, with what stands where there is no value."""
    row_bytes = max(int(np.prod(shape[1:])) * np.dtype(dtype).itemsize, 1)
    return group.create_dataset(
        name,
        shape=shape,
        maxshape=(None, *shape[1:]),
        dtype=dtype,
        chunks=(max(1, min(_CHUNK_BYTES // row_bytes, 4096)), *shape[1:]),
        compression="gzip",
        shuffle=True,
        fillvalue=absent,
    )


def _extend(group: h5py.Group, name: str, array: NDArray, absent: Any, n_old: int) -> None:
    n_new = n_old + len(array)
    if name in group:
        column = group[name]
        column.resize(n_new, axis=0)
    else:
        column = make_column(group, name, (n_new, *array.shape[1:]), array.dtype, absent)
    column[n_old:] = array
