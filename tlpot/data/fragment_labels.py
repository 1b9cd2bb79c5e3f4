"""Adding labels and splits to fragment files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlpot.data.dataset import Dataset, frames_of
from tlpot.data.fragment_layout import level_names, read_e0
from tlpot.data.fragment_writer import edited, make_column
from tlpot.data.open import open_dataset
from tlpot.data.split import Split, fingerprint
from tlpot.errors import ConfigError, DataError, nearest
from tlpot.levels import canonical_level, choose_level

ATTRIBUTES = ("method", "basis", "program", "version", "definition")
"""What a file says about a level."""

SAME_E0 = 1e-6
"""eV; free atoms of one level differ by less."""

LevelLabels = tuple[ArrayLike, ArrayLike, ArrayLike | None]
"""Rows of a kind [k], their energies [k] in eV, and forces [k, n, 3] in eV/Å or None."""

_PARTS = {"train": "train", "validation": "valid", "test": "test"}


def add_level(
    path: str | os.PathLike[str],
    level: str,
    labels: Mapping[str, LevelLabels],
    attributes: Mapping[str, str] | None = None,
    *,
    isolated_atoms: Mapping[int, float] | None = None,
    replace: bool = False,
) -> None:
    """Adds labels of one level of theory to a fragment file, for any of its rows.

    Args:
        path: the file.
        level: name of the level; it may be there already.
        labels: by key of the kind, see `LevelLabels`. Forces of NaN mark rows without.
        attributes: how they were computed: method, basis, program, version, definition.
        isolated_atoms: total energy of the free atom by atomic number, eV.
        replace: whether labels that are there already are replaced.

    Raises:
        ConfigError: an attribute that does not exist.
        DataError: no such kind or row, shapes that do not fit, energies that are not finite, a
            row that has a label already, or a level that was computed in another way.
        OutputError: the file could not be written; it is left as it was.
    """
    given = dict(attributes or {})
    for name in given:
        if name not in ATTRIBUTES:
            raise ConfigError(f"a level has no attribute {name!r}{nearest(name, ATTRIBUTES)}")
    where = Path(path)
    with edited(where) as handle:
        key = _announce(handle, where, canonical_level(level), given, isolated_atoms or {})
        for kind, (index, energy, forces) in labels.items():
            if kind not in handle["fragments"]:
                raise DataError(
                    f"{where} has no fragments {kind!r}{nearest(kind, handle['fragments'])}"
                )
            group = handle["fragments"][kind]
            new = _checked(group, where, index, energy, forces)
            _merge(group.require_group(key), where, *new, replace=replace)


def add_labels(
    path: str | os.PathLike[str],
    labelled: Dataset,
    level: str | None = None,
    attributes: Mapping[str, str] | None = None,
    *,
    replace: bool = False,
) -> int:
    """Copies the labels of a dataset to the fragments with the same geometry.

    This is how what ``tlpot label`` wrote about the fragments of a file comes back into it.

    Args:
        path: the fragment file.
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
    fragments = open_dataset(path)
    frames = frames_of(fragments, levels=())
    rows = {
        fingerprint(frame.system): place
        for frame, place in zip(frames, _places(fragments), strict=True)
    }
    found: dict[str, dict[int, tuple[float, NDArray[np.float64] | None]]] = {}
    for frame in frames_of(labelled, np.flatnonzero(labelled.labelled(name)), levels=[name]):
        place = rows.get(fingerprint(frame.system))
        if place is not None:
            label = frame.labels[name]
            found.setdefault(place[0], {})[place[1]] = label.energy, label.forces
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
        {kind: _arrays(some) for kind, some in found.items()},
        about,
        isolated_atoms=info.isolated_atoms,
        replace=replace,
    )
    return sum(len(some) for some in found.values())


def store_split(
    path: str | os.PathLike[str], name: str, split: Split, *, replace: bool = False
) -> None:
    """Stores a split in the fragment file that it is of, where it outlives labels to come.

    Raises:
        DataError: the split is of another file, or one of that name is there.
        OutputError: the file could not be written; it is left as it was.
    """
    dataset = open_dataset(path)
    if split.content_hash != dataset.content_hash:
        raise DataError(f"the split was not made for {path} as it is now; make it again")
    places = _places(dataset)
    with edited(path) as handle:
        splits = handle.require_group("splits")
        if name in splits:
            if not replace:
                raise DataError(f"{path} has a split {name!r}; say replace=True, or rename it")
            del splits[name]
        group = splits.create_group(name)
        group.attrs["by"], group.attrs["seed"] = split.by, split.seed
        for part, stored in _PARTS.items():
            rows: dict[str, list[int]] = {}
            for frame in getattr(split, part).tolist():
                kind, row = places[frame]
                rows.setdefault(kind, []).append(row)
            for kind, numbers in rows.items():
                group.require_group(kind)[stored] = np.array(numbers, dtype=np.int32)


def stored_split(path: str | os.PathLike[str], name: str) -> Split:
    """Returns a split that a fragment file holds.

    Raises:
        DataError: no such split, or it names rows that are not there.
    """
    dataset = open_dataset(path)
    frames = {place: k for k, place in enumerate(_places(dataset))}
    found: dict[str, list[int]] = {part: [] for part in _PARTS}
    with h5py.File(path, "r") as handle:
        splits = handle.get("splits", {})
        if name not in splits:
            raise DataError(f"{path} has no split {name!r}{nearest(name, splits)}")
        group = splits[name]
        by, seed = str(group.attrs["by"]), int(group.attrs["seed"])
        for part, stored in _PARTS.items():
            for kind, own in group.items():
                rows = own[stored][()].tolist() if stored in own else []
                for row in rows:
                    if (kind, row) not in frames:
                        raise DataError(
                            f"{path}:{own.name}/{stored} names row {row}, which is not there"
                        )
                    found[part].append(frames[kind, row])
    return Split(
        **{part: np.array(sorted(some), dtype=np.int64) for part, some in found.items()},
        by=by,
        seed=seed,
        content_hash=dataset.content_hash,
    )


def _places(dataset: Dataset) -> list[tuple[str, int]]:
    """Returns kind and row of each frame; the frames of a kind follow each other."""
    counts = np.bincount(dataset.group_idx, minlength=len(dataset.group_names)).tolist()
    return [
        (name, row)
        for name, count in zip(dataset.group_names, counts, strict=True)
        for row in range(count)
    ]


def _arrays(
    some: Mapping[int, tuple[float, NDArray[np.float64] | None]],
) -> tuple[list[int], list[float], NDArray[np.float64] | None]:
    forces = [label[1] for label in some.values()]
    there = next((f for f in forces if f is not None), None)
    if there is None:
        return list(some), [energy for energy, _ in some.values()], None
    nothing = np.full(there.shape, np.nan)
    stacked = np.stack([nothing if f is None else f for f in forces])
    return list(some), [energy for energy, _ in some.values()], stacked


def _announce(
    handle: h5py.File,
    path: Path,
    level: str,
    attributes: Mapping[str, str],
    isolated_atoms: Mapping[int, float],
) -> str:
    """Enters a level in the file, or checks that it is the one there; returns its key."""
    keys = {name: key for key, name in level_names(handle, path).items()}
    levels = handle["levels"]
    key = keys.get(level)
    if key is None:
        key = level.replace("/", "_")
        while key in levels:
            key += "_"
        group = levels.create_group(key)
        group.attrs["name"] = level
        method, _, basis = level.partition("/")
        group.attrs["method"], group.attrs["basis"] = method, basis
        group.attrs.update(attributes)
    group = levels[key]
    for name, value in attributes.items():
        here = group.attrs.get(name, "")
        if here != value:
            raise DataError(
                f"{path}:{group.name} has {name} {here!r}, and the new labels have {value!r}. "
                "Labels of one level must be computed in one way: give the level another name"
            )
    known = read_e0(group, path)
    for z, energy in isolated_atoms.items():
        if abs(known.setdefault(int(z), energy) - energy) > SAME_E0:
            raise DataError(
                f"{path}:{group.name}/e0 has {known[int(z)]:.6f} eV for element {z}, and the new "
                f"labels have {energy:.6f} eV; are these the same level of theory?"
            )
    if isolated_atoms:
        table = np.array(sorted(known.items()), dtype=[("z", "u1"), ("energy", "f8")])
        if "e0" in group:
            del group["e0"]
        group.create_dataset("e0", data=table)
    return key


def _checked(
    group: h5py.Group, path: Path, index: ArrayLike, energy: ArrayLike, forces: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Returns new labels as arrays in ascending order of the rows."""
    where = f"{path}:{group.name}"
    m, n = group["positions"].shape[:2]
    rows = np.asarray(index)
    energies = np.asarray(energy, dtype=np.float64)
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
    order = np.argsort(rows)
    if forces is None:
        return rows[order], energies[order], None
    vectors = np.asarray(forces, dtype=np.float64)
    if vectors.shape != (len(rows), n, 3):
        raise DataError(f"{where}: forces have shape {vectors.shape}, expected {(len(rows), n, 3)}")
    if np.isinf(vectors).any():
        raise DataError(f"{where}: the new forces hold infinity; use NaN where there are none")
    return rows[order], energies[order], vectors[order]


def _merge(
    group: h5py.Group,
    path: Path,
    rows: NDArray[np.int64],
    energies: NDArray[np.float64],
    forces: NDArray[np.float64] | None,
    *,
    replace: bool,
) -> None:
    shape = group.parent["positions"].shape[1:]
    if "index" in group:
        old = group["index"][()].astype(np.int64)
        twice = np.isin(old, rows)
        if twice.any() and not replace:
            raise DataError(
                f"{path}:{group.name}: row {old[twice][0]} has a label already (as have "
                f"{int(twice.sum())} of the new rows); say replace=True to put the new ones there"
            )
        kept = old[~twice]
        before = None
        if "forces" in group:
            before = group["forces"][()][~twice].astype(np.float64)
        if before is not None or forces is not None:
            before = np.full((len(kept), *shape), np.nan) if before is None else before
            forces = np.full((len(rows), *shape), np.nan) if forces is None else forces
            forces = np.concatenate([before, forces])
        energies = np.concatenate([group["energy"][()][~twice], energies])
        rows = np.concatenate([kept, rows])
        for name in ("index", "energy", "forces"):
            if name in group:
                del group[name]
    order = np.argsort(rows)
    columns: dict[str, tuple[NDArray, str]] = {
        "index": (rows[order], "i4"),
        "energy": (energies[order], "f8"),
    }
    if forces is not None:
        columns["forces"] = forces[order], "f4"
    for name, (values, dtype) in columns.items():
        column = make_column(group, name, values.shape[1:], dtype)
        column.resize(len(values), axis=0)
        column[:] = values
