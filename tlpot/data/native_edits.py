"""Adding to files in the native layout: labels of a level of theory, and splits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

from tlpot.data.dataset import Dataset, frames_of
from tlpot.data.hdf5 import json_attribute, open_hdf5, written_hdf5
from tlpot.data.native import UNITS, groups_by_name, make_column
from tlpot.data.open import open_dataset
from tlpot.data.split_file import PARTS, Split
from tlpot.data.split_groups import fingerprint
from tlpot.errors import ConfigError, DataError, nearest
from tlpot.levels import canonical_level, choose_level
from tlpot.units import energy_factor, force_factor

ATTRIBUTES = ("definition", "method", "basis", "program", "version")
"""What may be said about a level."""

SAME_E0 = 1e-6
"""eV; free atoms of one level differ by less."""

LevelLabels = tuple[ArrayLike, ArrayLike, ArrayLike | None]
"""Rows of a molecule [k], their energies [k] in eV, and forces [k, n, 3] in eV/Å or None."""


def add_level(
    path: str | os.PathLike[str],
    level: str,
    labels: Mapping[str, LevelLabels],
    attributes: Mapping[str, str] | None = None,
    *,
    isolated_atoms: Mapping[int, float] | None = None,
    replace: bool = False,
) -> None:
    """Adds labels of one level of theory to a file in the native layout, for any of its rows.

    Args:
        path: the file; a fragment file is one.
        level: name of the level; it may be there already.
        labels: by name of the molecule, which is the key of a kind of fragment, see
            `LevelLabels`. Forces of NaN mark rows without.
        attributes: how they were computed: method, basis, program, version, definition.
        isolated_atoms: total energy of the free atom by atomic number, eV.
        replace: whether labels that are there already are replaced.

    Raises:
        ConfigError: an attribute that does not exist.
        DataError: no such molecule or row, shapes that do not fit, energies that are not finite,
            a row that has a label already, or a level that was computed in another way.
        OutputError: the file could not be written; it is left as it was.
    """
    about = dict(attributes or {})
    for name in about:
        if name not in ATTRIBUTES:
            raise ConfigError(f"a level has no attribute {name!r}{nearest(name, ATTRIBUTES)}")
    where, chosen = Path(path), canonical_level(level)
    with written_hdf5(where, where) as handle:
        definition = _definition(handle, where, chosen, about)
        key, units = announce_level(handle, where, chosen, definition, isolated_atoms)
        groups = groups_by_name(handle)
        for name, some in labels.items():
            if name not in groups:
                raise DataError(f"{where} has no frames of {name!r}{nearest(name, groups)}")
            group = groups[name]
            _add(group, f"{where}:{group.name}", key, units, some, replace=replace)


def announce_level(
    handle: h5py.File,
    path: Path,
    level: str,
    definition: str | None,
    isolated_atoms: Mapping[int, float] | None = None,
) -> tuple[str, dict[str, str]]:
    """Enters a level in the attributes of an open file.

    Args:
        handle: a file in the native layout, open for writing.
        path: of the file, for messages.
        level: canonical name.
        definition: how its labels are computed; None leaves what the file says.
        isolated_atoms: total energy of the free atom by atomic number, eV.

    Returns:
        The key of the level's datasets, and the units of the file.

    Raises:
        DataError: attributes that are damaged, or another energy of the same free atom.
    """
    levels = json_attribute(handle, "levels", path)
    units = {**UNITS, **json_attribute(handle, "units", path)}
    definitions = json_attribute(handle, "definitions", path)
    atoms = json_attribute(handle, "isolated_atoms", path)
    keys = [key for key, name in levels.items() if canonical_level(str(name)) == level]
    key = keys[0] if keys else level.replace("/", "_")
    while not keys and key in levels:
        key += "_"
    if definition is not None:
        definitions[key] = definition
    for z, energy in sorted((isolated_atoms or {}).items()):
        stored = atoms.setdefault(chemical_symbols[z], {})
        new = energy / energy_factor(units["energy"])
        known = stored.setdefault(f"{key}.energy", new)
        if abs(known - new) * energy_factor(units["energy"]) > SAME_E0:
            raise DataError(
                f"{path}: attribute 'isolated_atoms' has {known:.6f} {units['energy']} for "
                f"{chemical_symbols[z]} at {level!r}, and the new labels have {new:.6f}; are "
                "these the same level of theory?"
            )
    for name, value in (
        ("levels", {**levels, key: level}),
        ("units", units),
        ("definitions", definitions),
        ("isolated_atoms", atoms),
    ):
        handle.attrs[name] = json.dumps(value, ensure_ascii=False)
    handle.attrs["layout"] = "ani1x"
    return key, units


def add_labels(
    path: str | os.PathLike[str],
    labelled: Dataset,
    level: str | None = None,
    attributes: Mapping[str, str] | None = None,
    *,
    replace: bool = False,
) -> int:
    """Copies the labels of a dataset to the frames with the same geometry of a native file.

    Args:
        path: the file; a fragment file is one.
        labelled: a dataset of the same geometries, atom by atom, in any order of the frames.
        level: which of its levels; None if there is one.
        attributes: as of `add_level`; the definition is taken from the dataset if not given.
        replace: as of `add_level`.

    Returns:
        The number of labels.

    Raises:
        DataError: no geometry of the file has a label there; see also `add_level`.
        UnknownLevelError: the dataset has no such level.
    """
    name = choose_level(level, labelled.levels, str(labelled.path))
    info = labelled.levels[name]
    rows = {
        fingerprint(frame.system): place
        for frame, place in zip(
            frames_of(open_dataset(path), levels=()), places(Path(path)), strict=True
        )
    }
    found: dict[str, dict[int, tuple[float, NDArray[np.float64]]]] = {}
    for frame in frames_of(labelled, np.flatnonzero(labelled.labelled(name)), levels=[name]):
        place = rows.get(fingerprint(frame.system))
        if place is not None:
            label = frame.labels[name]
            nothing = np.full(frame.system.positions.shape, np.nan)
            forces = nothing if label.forces is None else label.forces
            found.setdefault(place[0], {})[place[1]] = label.energy, forces
    if not found:
        raise DataError(
            f"none of the geometries of {path} has an energy at {name} in {labelled.path}; were "
            "the atoms reordered, or is it the wrong file?"
        )
    about = dict(attributes or {})
    if info.definition:
        about.setdefault("definition", info.definition)
    add_level(
        path,
        name,
        {
            kind: (list(some), [x for x, _ in some.values()], [x for _, x in some.values()])
            for kind, some in found.items()
        },
        about,
        isolated_atoms=info.isolated_atoms,
        replace=replace,
    )
    return sum(len(some) for some in found.values())


def copy_rows(
    source: str | os.PathLike[str], target: str | os.PathLike[str], kept: ArrayLike
) -> None:
    """Writes some frames of a native file as another, with all that is said of them and of it.

    Args:
        source: the file; a fragment file is one.
        target: the file to write.
        kept: which frames, in the order of `open_dataset`; others are left out, and molecules
            without any.

    Raises:
        DataError: a frame that the file does not have.
        OutputError: the file could not be written; an existing one is left as it was.
    """
    where, wanted = Path(source), np.unique(np.asarray(kept, dtype=np.int64))
    with open_hdf5(where) as old, written_hdf5(target) as new:
        groups = list(groups_by_name(old).values())
        starts = np.cumsum([0, *(len(group["coordinates"]) for group in groups)])
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < starts[-1]:
            raise DataError(f"{where} has {starts[-1]} frames, and others are to be kept")
        new.attrs.update(old.attrs)
        if "proteins" in old:
            old.copy("proteins", new)
        for group, start, stop in zip(groups, starts[:-1], starts[1:], strict=True):
            rows = wanted[(wanted >= start) & (wanted < stop)] - start
            if len(rows):
                _copy_group(group, new.require_group(group.name), rows, int(stop - start))


def _copy_group(old: h5py.Group, new: h5py.Group, rows: NDArray[np.int64], n_rows: int) -> None:
    new.attrs.update(old.attrs)
    for name, data in old.items():
        if not isinstance(data, h5py.Dataset):
            continue  # a group of its own
        per_frame = name != "atomic_numbers" and data.shape[:1] == (n_rows,)
        if not per_frame:
            old.copy(name, new)
            continue
        column = make_column(new, name, (len(rows), *data.shape[1:]), data.dtype, data.fillvalue)
        column[...] = data[()][rows]
        column.attrs.update(data.attrs)


def store_split(
    path: str | os.PathLike[str], name: str, split: Split, *, replace: bool = False
) -> None:
    """Stores a split in the native file that it is of, where it outlives what is added.

    Each frame gets the name of its part as ``split.NAME``, or nothing.

    Raises:
        DataError: the split is of another file, or one of that name is there.
        OutputError: the file could not be written; it is left as it was.
    """
    dataset, where = open_dataset(path), Path(path)
    if split.content_hash != dataset.content_hash:
        raise DataError(f"the split was not made for {path} as it is now; make it again")
    parts = np.full(len(dataset), b"", dtype=object)
    for part in PARTS:
        parts[getattr(split, part)] = part.encode()
    with written_hdf5(where, where) as handle:
        known = json_attribute(handle, "splits", where)
        if name in known and not replace:
            raise DataError(f"{path} has a split {name!r}; say replace=True, or rename it")
        handle.attrs["splits"] = json.dumps({**known, name: {"by": split.by, "seed": split.seed}})
        start = 0
        for group in groups_by_name(handle).values():
            stop = start + len(group["coordinates"])
            _column(group, f"split.{name}", h5py.string_dtype(), None)[:] = parts[start:stop]
            start = stop


def stored_split(path: str | os.PathLike[str], name: str) -> Split:
    """Returns a split that a native file holds.

    Raises:
        DataError: no such split.
    """
    dataset, where = open_dataset(path), Path(path)
    with open_hdf5(where) as handle:
        known = json_attribute(handle, "splits", where)
        if name not in known:
            raise DataError(f"{path} has no split {name!r}{nearest(name, known)}")
        column = f"split.{name}"
        owner = [
            text
            for group in groups_by_name(handle).values()
            for text in (
                group[column].asstr()[()].tolist()
                if column in group
                else [""] * len(group["coordinates"])
            )
        ]
    train, validation, test = (np.flatnonzero(np.array(owner) == part) for part in PARTS)
    return Split(
        train=train,
        validation=validation,
        test=test,
        by=str(known[name]["by"]),
        seed=int(known[name]["seed"]),
        content_hash=dataset.content_hash,
    )


def places(path: Path) -> list[tuple[str, int]]:
    """Returns the molecule of each frame of a native file, and its row among those of it."""
    with open_hdf5(path) as handle:
        return [
            (name, row)
            for name, group in groups_by_name(handle).items()
            for row in range(len(group["coordinates"]))
        ]


def _definition(handle: h5py.File, path: Path, level: str, about: Mapping[str, str]) -> str | None:
    """Returns what to say about new labels; refuses those computed in another way than old ones."""
    method, _, basis = level.partition("/")
    said = {"method": method, "basis": basis, **about}
    text = ", ".join(said[name] for name in ATTRIBUTES if said.get(name))
    levels = json_attribute(handle, "levels", path)
    known = json_attribute(handle, "definitions", path)
    for key, name in levels.items():
        if canonical_level(str(name)) != level:
            continue
        here = known.get(key, "")
        if about and here not in (text, about.get("definition")):
            raise DataError(
                f"{path}: the labels at {level!r} were computed as {here!r}, and the new ones as "
                f"{text!r}. Labels of one level must be computed in one way: give the level "
                "another name"
            )
        return None
    return about["definition"] if about.keys() == {"definition"} else text


def _add(
    group: h5py.Group,
    where: str,
    key: str,
    units: Mapping[str, str],
    labels: LevelLabels,
    *,
    replace: bool,
) -> None:
    """Writes labels beside those that a group has."""
    m, n = group["coordinates"].shape[:2]
    rows, energies = np.asarray(labels[0]), np.asarray(labels[1], dtype=np.float64)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise DataError(f"{where}: the index of the new labels must be a list of row numbers")
    rows = rows.astype(np.int64)
    if rows.size and not 0 <= rows.min() <= rows.max() < m:
        raise DataError(f"{where} has {m} rows; the index of the new labels goes beyond them")
    if len(np.unique(rows)) != len(rows):
        raise DataError(f"{where}: the index of the new labels names a row twice")
    if energies.shape != rows.shape:
        raise DataError(f"{where}: {len(rows)} rows, but energies have shape {energies.shape}")
    if not np.isfinite(energies).all():
        row = int(rows[~np.isfinite(energies)][0])
        raise DataError(f"{where}: the new energy of row {row} is not finite; leave the row out")
    forces = np.full((len(rows), n, 3), np.nan)
    if labels[2] is not None:
        given = np.asarray(labels[2], dtype=np.float64)
        if given.shape != forces.shape:
            raise DataError(f"{where}: forces have shape {given.shape}, expected {forces.shape}")
        forces = given
    if np.isinf(forces).any():
        raise DataError(f"{where}: the new forces hold infinity; use NaN where there are none")
    column = _column(group, f"{key}.energy", "f8", np.nan)
    stored = column[()].reshape(m)
    twice = rows[np.isfinite(stored[rows])]
    if len(twice) and not replace:
        raise DataError(
            f"{where}: row {twice.min()} has a label at {key} already (as have {len(twice)} of "
            "the new rows); say replace=True to put the new ones there"
        )
    stored[rows] = energies / energy_factor(units["energy"])
    column[:] = stored.reshape(column.shape)
    if np.isfinite(forces).any() or f"{key}.forces" in group:
        column = _column(group, f"{key}.forces", "f4", np.nan)
        vectors = column[()]
        vectors[rows] = forces / force_factor(units["forces"])
        column[:] = vectors


def _column(group: h5py.Group, name: str, dtype: Any, absent: Any) -> h5py.Dataset:
    """Returns the array of a group of one value, or one vector for each atom, for each frame."""
    if name not in group:
        coordinates = group["coordinates"]
        shape = coordinates.shape if name.endswith(".forces") else coordinates.shape[:1]
        make_column(group, name, shape, dtype, absent)
    return group[name]
