"""Opening datasets: one call for every layout, one file or several."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tlpot.data.arrays import ArrayDataset
from tlpot.data.dataset import (
    Dataset,
    Frame,
    FrameSequence,
    LabelKind,
    LevelInfo,
    Problem,
    checked_indices,
)
from tlpot.data.extxyz import frame_of, read_extxyz, understood
from tlpot.data.flat import FlatStore
from tlpot.data.material_files import ID, is_material_file, read_materials, read_trajectory
from tlpot.data.native import read_native_spec
from tlpot.data.packed import open_store
from tlpot.data.program_outputs import output_kind, read_output
from tlpot.data.spec import DataSpec, SpecSource, UnitSpec, load_spec, spec_words, undescribed
from tlpot.data.spec_choice import select_level, with_keys
from tlpot.data.stated_units import with_stated_units
from tlpot.data.store import Store, check_stated_units, npz_names, read_npz
from tlpot.data.summary import definition_problems, definitions_of
from tlpot.data.xyz_file import XYZFrame
from tlpot.errors import ConfigError, DataError, UnknownLevelError, nearest
from tlpot.levels import canonical_level, choose_level, difference_parts

_COMPRESSED = (".gz", ".xz", ".bz2")

PathLike = str | os.PathLike[str]

_ATOMS = Path("atoms")
"""What a dataset that is in no file is called."""


class JoinedDataset(FrameSequence):
    """The frames of several datasets, one after the other; satisfies `tlpot.data.Dataset`.

    Molecules of the same name are one molecule when they have as many atoms; otherwise the
    name is qualified by the file's.

    Args:
        parts: at least one.

    Raises:
        DataError: two parts give different energies for the same free atom at the same level.
    """

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.path = self.parts[0].path
        self.levels: Mapping[str, LevelInfo] = _join_levels(self.parts)
        self.elements = tuple(sorted({z for part in self.parts for z in part.elements}))
        names: dict[str, int] = {}
        sizes: dict[str, int] = {}
        idx = []
        for part in self.parts:
            ids = []
            first = _first_sizes(part)
            for name, size in zip(part.group_names, first, strict=True):
                if sizes.setdefault(name, size) != size:
                    name = f"{part.path.name}/{name}"
                ids.append(names.setdefault(name, len(names)))
            idx.append(np.array(ids, dtype=np.int64)[part.group_idx])
        self.group_names = tuple(names)
        self.group_idx = np.concatenate(idx)
        self.sizes = np.concatenate([part.sizes for part in self.parts])

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the hashes of the files, in order."""
        hashes = "".join(part.content_hash for part in self.parts)
        return hashlib.sha256(hashes.encode()).hexdigest()

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What opening the files has shown, and levels that were computed in several ways."""
        several = set(definition_problems(self.levels))
        return (
            *(
                replace(problem, what=f"{part.path.name}: {problem.what}")
                for part in self.parts
                for problem in part.problems
                if problem not in several
            ),
            *definition_problems(self.levels),
        )

    @cached_property
    def unused_keys(self) -> tuple[str, ...]:
        """Arrays of the files that the description does not mention."""
        return tuple(sorted({key for part in self.parts for key in part.unused_keys}))

    def __len__(self) -> int:
        return len(self.sizes)

    def labelled(self, level: str, kind: LabelKind = "energy") -> NDArray[np.bool_]:
        """Which frames carry a label, [n_frames].

        Raises:
            UnknownLevelError: no such level; the message lists those present.
        """
        level = canonical_level(level)
        if level not in self.levels:
            raise UnknownLevelError(
                f"{self.path} and others have no level {level!r}{nearest(level, self.levels)}"
            )
        return np.concatenate(
            [
                part.labelled(level, kind)
                if level in part.levels
                else np.zeros(len(part), dtype=bool)
                for part in self.parts
            ]
        )

    def column(self, key: str) -> NDArray:
        """Returns an array of the files with one value for each frame, as stored.

        Raises:
            DataError: a file does not have it, or it has another shape.
        """
        return np.concatenate([part.column(key) for part in self.parts])

    def attributes(self, group: str | None = None) -> Mapping[str, Any]:
        """Returns what the files say of a molecule beside its frames, where they agree."""
        first, *others = [
            part.attributes(group)
            for part in self.parts
            if group is None or group in part.group_names
        ] or [{}]
        return {
            name: value
            for name, value in first.items()
            if all(name in other and np.array_equal(value, other[name]) for other in others)
        }

    def read(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        levels: Collection[str] | None = None,
    ) -> list[Frame]:
        """Returns frames in the order asked for; see `Dataset.read`."""
        asked = checked_indices(self, indices)
        owner = np.searchsorted(self._starts, asked, side="right") - 1
        frames: list[Frame | None] = [None] * len(asked)
        for k in np.unique(owner):
            places = np.flatnonzero(owner == k)
            part = self.parts[k]
            for place, frame in zip(
                places, part.read(asked[places] - self._starts[k], levels), strict=True
            ):
                group = self.group_names[self.group_idx[asked[place]]]
                frames[place] = frame if frame.group == group else replace(frame, group=group)
        return [frame for frame in frames if frame is not None]


def _first_sizes(part: Dataset) -> list[int]:
    """Atoms of the first frame of each molecule."""
    _, first = np.unique(part.group_idx, return_index=True)
    return [int(size) for size in part.sizes[first]]


def _quantity_words(info: LevelInfo) -> str:
    return "a total energy" if info.quantity is None else f"({info.quantity.words})"


def _join_levels(parts: Sequence[Dataset]) -> dict[str, LevelInfo]:
    levels: dict[str, LevelInfo] = {}
    for part in parts:
        for name, info in part.levels.items():
            known = levels.setdefault(name, info)
            if known.quantity != info.quantity:
                raise DataError(
                    f"{part.path}: {name} is {_quantity_words(info)}, and "
                    f"{_quantity_words(known)} in another file; convert one of them"
                )
            atoms = dict(known.isolated_atoms)
            for z, energy in info.isolated_atoms.items():
                if abs(atoms.setdefault(z, energy) - energy) > 1e-6:
                    raise DataError(
                        f"{part.path}: the free atom {z} has energy {energy:.6f} eV at {name}, but "
                        f"{atoms[z]:.6f} eV in another file; are these the same level of theory?"
                    )
            said = [*definitions_of(known), *definitions_of(info)]
            first, *others = dict.fromkeys(said) if said else [""]
            levels[name] = replace(
                known,
                kinds=known.kinds | info.kinds,
                isolated_atoms=atoms,
                definition=first,
                other_definitions=tuple(others),
                keys=tuple(dict.fromkeys((*known.keys, *info.keys))),
            )
    return levels


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file and how to read it; the fields are the arguments of `open_dataset`."""

    path: str | os.PathLike[str]
    spec: SpecSource | None = None
    level: str | None = None
    keys: Mapping[str, str] | None = None


DataSource = PathLike | Source | Dataset | Atoms | Sequence[PathLike | Source] | Sequence[Atoms]
"""What can be opened: a file, several, or structures with labels."""


def open_dataset(
    path: DataSource,
    spec: SpecSource | None = None,
    *,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
) -> Dataset:
    """Opens a file of QM labels, or several as one dataset.

    Args:
        path: the file (a trajectory of ASE, too), or the folder of structures with
            ``id_prop.csv``; a list of files, or of
            `Source` where they differ in layout or level; or
            `ase.Atoms`, one or several, with labels as extended XYZ files have them: results of
            their calculators, or ``energy``, ``forces`` and ``stress`` in ``info`` and
            ``arrays``. A dataset is returned as it is.
        spec: the description of its layout: its name, a YAML file, or a mapping of what would be
            in one. Files in tlpot's own layout and extended XYZ need none.
        level: the level of theory of the labels, where the layout does not say; elsewhere, the
            only level to read.
        keys: names of arrays that differ from the description: ``{"energy": "energy_xtb"}``;
            and of properties, with unit and kind: ``{"gap@pbe": "gap_pbe, eV, intensive"}``.

    Raises:
        DataError: no such file, damaged, not what its description says, or without frames.
        ConfigError: no such description, or a mistake in it.
        UnknownLevelError: the level is not there, or none was named and the layout does not
            say which it is.
    """
    path = as_listed(path)
    if isinstance(path, str | os.PathLike | Source | Atoms):
        parts: Sequence[PathLike | Source | Atoms] = [path]
    elif isinstance(path, list | tuple):
        parts = path
    else:
        return _opened(cast(Dataset, path), spec, level, keys)
    if not parts:
        raise DataError("no files given")
    sources = [
        part if isinstance(part, Source) else Source(path=part, spec=spec, level=level, keys=keys)
        for part in parts
        if not isinstance(part, Atoms)
    ]
    structures = [part for part in parts if isinstance(part, Atoms)]
    datasets = [_open(source) for source in sources]
    if structures:
        datasets.append(
            _open_atoms(structures, Source(path=_ATOMS, spec=spec, level=level, keys=keys))
        )
    dataset = datasets[0] if len(datasets) == 1 else JoinedDataset(datasets)
    if len(dataset) == 0:
        raise DataError(f"{', '.join(str(d.path) for d in datasets)}: no frames")
    return dataset


def as_listed(source: Any) -> Any:
    """Returns what gives files or structures one by one, such as a trajectory of ASE, as a list.

    A single one, a list, a tuple and a dataset are returned as they are.

    Raises:
        ConfigError: it gives nothing of the kind.
    """
    if isinstance(source, str | os.PathLike | Source | Atoms | list | tuple):
        return source
    if hasattr(source, "levels"):
        return source
    try:
        found = list(source)
    except TypeError:
        found = [source]
    for each in found:
        if not isinstance(each, str | os.PathLike | Source | Atoms):
            raise ConfigError(
                f"expected files, ase.Atoms or a dataset, not {type(source).__name__}"
                + (f" of {type(each).__name__}" if each is not source else "")
            )
    return found


def _open(source: Source) -> ArrayDataset:
    path = Path(source.path)
    if is_material_file(path):
        return _open_materials(path, source)
    if path.suffix == ".traj":
        frames = [frame_of(atoms, k, path.name) for k, atoms in enumerate(read_trajectory(path))]
        return _open_frames(frames, path, source)
    if source.spec is None and (kind := output_kind(path)):
        output = read_output(path, kind)
        frames = [frame_of(atoms, k, path.name) for k, atoms in enumerate(output.steps)]
        return _open_frames(frames, path, source, output.problems)
    spec = _spec(path, source.spec)
    _check_container(path, spec, source.spec)
    spec = _understood(spec, source, str(path))
    if spec.container == "extxyz":
        return ArrayDataset(*read_extxyz(path, spec))
    store: Store
    if spec.container == "hdf5":
        store = open_store(path, spec.numbers, spec.coordinates, spec.groups)
    else:
        store = archive = read_npz(path, spec.numbers, spec.coordinates)
        check_stated_units(archive, spec)
    flat = spec.offsets is not None or spec.counts is not None
    return ArrayDataset(FlatStore(store, spec) if flat else store, spec)


_CONTAINERS = {"hdf5": "HDF5", "npz": "npz archives", "extxyz": "extended XYZ"}
_ZIP = b"PK\x03\x04"


def _check_container(path: Path, spec: DataSpec, source: SpecSource | None) -> None:
    """Checks by its first bytes that a file is what its description is for.

    Raises:
        DataError: it is of another kind.
    """
    if not path.is_file():
        return
    with path.open("rb") as handle:
        is_zip = handle.read(len(_ZIP)) == _ZIP
    found = "npz" if is_zip else "hdf5" if h5py.is_hdf5(path) else None
    if found not in (None, spec.container):
        what = "a zip archive, as npz files are" if is_zip else "HDF5"
        whose = "its name" if source is None else spec_words(source)
        raise DataError(
            f"{path} is {what}, and {whose} is for {_CONTAINERS[spec.container]}; name a "
            f"description with container: {found} (spec=...), none if it is in tlpot's own layout, "
            "or another file"
        )


def _understood(spec: DataSpec, source: Source, where: str) -> DataSpec:
    """Returns a description of what is asked for, under the names that the user gives."""
    keys = source.keys or {}
    return with_keys(select_level(spec, source.level, where, keys), keys)


def _open_materials(path: Path, source: Source) -> ArrayDataset:
    base = load_spec("extxyz" if source.spec is None else source.spec)
    if base.container != "extxyz":
        raise ConfigError(
            f"{path}: structures with a table are described as extended XYZ "
            "(container: extxyz), with its columns as keys"
        )
    found = read_materials(path)
    known = sorted({key for frame in found.frames for key in frame.info} - {*found.texts})
    where = f"{path}, with the columns {', '.join(known) or 'of no values'},"
    spec = _understood(base, source, where)
    stated = found.frames[0].units if found.frames else {}
    if stated and source.spec is None and not any("," in t for t in (source.keys or {}).values()):
        try:
            spec = with_stated_units(spec, stated)
        except ConfigError as error:
            raise DataError(f"{path} states the units of its labels: {error}") from None
    spec = replace(spec, columns=tuple(dict.fromkeys((*spec.columns, *found.texts))))
    store, spec = understood(found.frames, path, spec, named_by=ID if found.named else None)
    store.problems = (*found.problems, *store.problems)
    return ArrayDataset(store, spec)


def _opened(
    dataset: Dataset,
    spec: SpecSource | None,
    level: str | None,
    keys: Mapping[str, str] | None,
) -> Dataset:
    """Checks that a dataset that is open is what is asked for."""
    if spec is not None or keys:
        raise ConfigError("spec and keys are for files; the dataset is open already")
    if level is not None and difference_parts(level) is None:
        choose_level(level, dataset.levels, str(dataset.path))
    return dataset


def _open_atoms(structures: Sequence[Atoms], source: Source) -> ArrayDataset:
    frames = [frame_of(atoms, number) for number, atoms in enumerate(structures)]
    return _open_frames(frames, _ATOMS, source)


def _open_frames(
    frames: Sequence[XYZFrame], path: Path, source: Source, problems: Sequence[Problem] = ()
) -> ArrayDataset:
    """Returns structures with labels as those of extended XYZ are read; `path` is for messages."""
    spec = load_spec("extxyz" if source.spec is None else source.spec)
    if spec.container != "extxyz":
        assert source.spec is not None
        raise ConfigError(
            f"{path} is read as extended XYZ is, which {spec_words(source.spec)} is not for"
        )
    store, spec = understood(frames, path, _understood(spec, source, str(path)))
    store.problems = (*problems, *store.problems)
    return ArrayDataset(store, spec)


def open_unlabelled(structures: Sequence[Atoms], path: Path) -> Dataset:
    """Returns structures of which nothing is known yet as a dataset; `path` is where they are from.

    Raises:
        DataError: an unusable structure, or none.
    """
    if not structures:
        raise DataError(f"{path}: no frames")
    spec = DataSpec(container="extxyz", units=UnitSpec(coordinates="angstrom"), unlabelled=True)
    frames = [frame_of(atoms, number) for number, atoms in enumerate(structures)]
    return ArrayDataset(*understood(frames, path, spec))


def _spec(path: Path, source: SpecSource | None) -> DataSpec:
    if source is not None:
        return load_spec(source)
    kind = path.suffix if path.suffix not in _COMPRESSED else path.with_suffix("").suffix
    if kind in (".xyz", ".extxyz"):
        return load_spec("extxyz")
    if kind == ".npz":
        raise DataError(
            f"{path}: an npz file does not describe itself; {undescribed('npz', npz_names(path))}"
        )
    return read_native_spec(path)
