"""What is to be labelled, from whatever file it is in; the geometries of a file of ours."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from ase import Atoms

from tlpot.data import (
    ID,
    OPTIONAL,
    UNITS,
    DataSpec,
    Decoder,
    Frame,
    HDF5Store,
    MemoryStore,
    Problem,
    Section,
    SpecSource,
    UnitSpec,
    files_or_atoms,
    frames_of,
    geometry_groups,
    json_attribute,
    open_dataset,
    open_hdf5,
    printable,
    write_dataset,
    write_structures,
)
from tlpot.errors import ChargeWarning, ConfigError, DataError, GeometryError
from tlpot.levels import canonical_level
from tlpot.neighbors import neighbor_list
from tlpot.structures import NOTES, name_charge, read_all
from tlpot.system import NO_CELL, NO_PBC, System

PathLike = str | os.PathLike[str]
_LABEL = re.compile(r"(REF_)?(free_)?energ(y|ies)|(REF_)?(forces?|stress|virials?)|domain")
"""Keys of what programs compute, which is none of what a structure is called by."""
_NEAR = 0.5
"""Å; the reach of the search for atoms in one place."""

Source = PathLike | Atoms | Iterable[PathLike | Atoms | Frame]


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


def stored_texts(path: Path, key: str) -> tuple[str, ...] | None:
    """Returns a column of words, one for each geometry in their order; None unless all have it."""
    found: list[str] = []
    with open_hdf5(path) as handle:
        for group in geometry_groups(handle):
            column = group.get(key)
            if not isinstance(column, h5py.Dataset) or column.shape != (len(group["coordinates"]),):
                return None
            found += [x.decode() if isinstance(x, bytes) else str(x) for x in column[()].tolist()]
    return tuple(found)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Structures:
    """Geometries, and how to write them as a file that labels can be added to.

    Attributes:
        systems: in order.
        names: one for each, for messages.
        write: writes the native file; labels that the source has go with it.
        home: the source itself, where it is in the native layout.
        frames: where the source says nothing but the geometries, these; else empty.
        problems: what opening the source has shown.
        notes: what the reader of its files chose or dropped.
        about: of each structure, what else its file says in words and numbers, such as an id;
            labels are not among it. Empty where the source is a dataset.
    """

    systems: tuple[System, ...]
    names: tuple[str, ...]
    write: Callable[[Path], None]
    home: Path | None = None
    frames: tuple[Frame, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    about: tuple[Mapping[str, Any], ...] = ()


def read_structures(
    source: Source,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
    *,
    charge: int | None = None,
    spin: int | None = None,
) -> Structures:
    """Reads geometries, and checks that they can be computed at all.

    Args:
        source: a file in the native layout (with labels or without), one of another layout
            together with `spec`, files of any format that ASE reads, or `ase.Atoms`.
        spec: the description of a dataset's layout, see `open_dataset`. Without one, labels in an
            extended XYZ file are not carried over.
        keys: names that differ from the description; without `spec`, the keys of ``charge`` and
            ``spin`` in files of structures.
        charge: total charge of the structures, which do not state another.
        spin: multiplicity, likewise.

    Raises:
        DataError: no such file, not readable, no structures, or a named key is not there.
        ConfigError: `keys`, `charge` or `spin` that do not apply.
        GeometryError: a structure states another charge or multiplicity than is given, or is
            unusable: atoms in one place, a cell that is none, a charge or multiplicity that is
            ambiguous.
    """
    keys = {name: str(key) for name, key in (keys or {}).items()}
    given = {"charge": charge, "spin": spin}
    parts = files_or_atoms(source, "structures")
    if len(parts) == 1 and not isinstance(parts[0], Atoms):
        path = Path(parts[0])
        if not path.exists():
            raise DataError(f"no such file: {path}")
        if (spec is not None or is_native(path)) and given != dict.fromkeys(given):
            raise ConfigError(
                f"charge and spin do not apply to the dataset {path}, which says them of every "
                "frame; leave them out, or name its keys (--keys charge=Q)"
            )
        if spec is not None:
            return _checked(_from_dataset(path, spec, keys))
        if is_native(path):
            if keys:
                raise ConfigError(f"{path} describes itself; leave keys=... out")
            return _checked(_from_native(path))
        if path.suffix in (".h5", ".hdf5"):
            raise DataError(
                f"{path} is not a dataset in tlpot's own layout; name the description of its "
                "layout with spec=... (--spec), for example 'ani1x'"
            )
    if spec is not None:
        raise DataError("spec describes one dataset; join several with 'tlpot data convert' first")
    strange = keys.keys() - {"charge", "spin"}
    if strange:
        raise ConfigError(
            f"keys: {', '.join(sorted(strange))} of files of structures are not read; valid: "
            "charge, spin. To carry labels over, describe the layout with spec=... (--spec)"
        )
    for name, key in keys.items():
        if key.strip().lstrip("+-").isdigit():
            raise ConfigError(
                f"keys: {name} is the number {key}; of structures without labels give it as "
                f"{name}={key} (--{name})"
            )
    frames: list[Frame] = []
    about: list[Mapping[str, Any]] = []
    notes: list[str] = []
    for part in parts:
        if isinstance(part, Atoms):
            atoms, name = part.copy(), f"structure {len(frames)}"
            name_charge(atoms, name, charge_key=keys.get("charge"), spin_key=keys.get("spin"))
            about.append(_about(atoms))
            frames.append(_frame(atoms, name, given))
        else:
            found, others, said = _from_file(Path(part), keys, given)
            frames += found
            about += others
            notes += said
    return _checked(
        Structures(
            systems=tuple(frame.system for frame in frames),
            names=tuple(frame.name for frame in frames),
            write=partial(write_structures, frames),
            frames=tuple(frames),
            notes=tuple(notes),
            about=tuple(about),
        )
    )


def _checked(structures: Structures) -> Structures:
    if not structures.systems:
        raise DataError("there are no structures to label")
    for system, name in zip(structures.systems, structures.names, strict=True):
        # as calculators do: programs run for hours, or for ever, on what is refused here
        neighbor_list(system, _NEAR, name)
    return structures


def _from_native(path: Path) -> Structures:
    systems: list[System] = []
    names: list[str] = []
    with open_hdf5(path) as handle:
        for group in geometry_groups(handle):
            found = group_systems(group, path)
            names += [f"{path.name}:{group.name}[{k}]" for k in range(len(found))]
            systems += found
    return Structures(
        systems=tuple(systems),
        names=tuple(names),
        write=_refuse_writing,
        home=path,
        problems=tuple(geometry_problems(path)),
    )


def _refuse_writing(path: Path) -> None:
    raise AssertionError("a native file is copied, with all that is in it")


def _from_dataset(path: Path, spec: SpecSource, keys: Mapping[str, str]) -> Structures:
    dataset = open_dataset(path, spec, keys=keys or None)
    frames = list(frames_of(dataset, levels=()))
    return Structures(
        systems=tuple(frame.system for frame in frames),
        names=tuple(frame.name for frame in frames),
        write=partial(write_dataset, dataset),
        problems=tuple(dataset.problems),
    )


def _from_file(
    path: Path, keys: Mapping[str, str], given: Mapping[str, int | None]
) -> tuple[list[Frame], list[Mapping[str, Any]], list[str]]:
    """Returns the structures of a file, what else is said of each, and the reader's notes."""
    if path.suffix in (".h5", ".hdf5"):
        raise DataError(
            f"{path}: several datasets cannot be labelled at once; join them with "
            "'tlpot data convert' first"
        )
    with warnings.catch_warnings():
        if given.get("charge") is not None:
            warnings.simplefilter("ignore", ChargeWarning)  # of what it stands in the place of
        found = read_all(path, charge_key=keys.get("charge"), spin_key=keys.get("spin"))
    about: list[Mapping[str, Any]] = [_about(atoms) for atoms in found]
    named = path.is_dir() or ".json" in path.suffixes[-2:]  # by the ids in them
    frames = [
        _frame(
            atoms,
            str(atoms.info[ID]) if named and ID in atoms.info else f"{path.name}[{k}]",
            given,
        )
        for k, atoms in enumerate(found)
    ]
    notes = {line for atoms in found for line in str(atoms.info.get(NOTES, "")).splitlines()}
    return frames, about, [f"{path.name}: {line}" for line in sorted(notes)]


def _about(atoms: Atoms) -> dict[str, Any]:
    """Returns the words and numbers of ``info`` that are no labels, no charge and no notes."""
    return {
        key: value
        for key, value in atoms.info.items()
        if isinstance(key, str)
        and isinstance(value, str | bool | int | float | np.generic)
        and key not in ("charge", "spin", NOTES)
        and not _LABEL.fullmatch(key)
    }


def _frame(atoms: Atoms, name: str, given: Mapping[str, int | None]) -> Frame:
    for key, value in given.items():
        if value is None:
            continue
        if atoms.info.setdefault(key, value) != value:
            raise GeometryError(
                f"{name} states {key}={atoms.info[key]}, and {value} is given; leave one out"
            )
    return Frame(
        system=System.from_atoms(atoms),
        labels={},
        group=str(atoms.info.get("molecule", atoms.get_chemical_formula())),
        name=name,
    )
