"""Opening datasets: one call for every layout, one file or several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from tlpot.data import Frame
from tlpot.data.arrays import ArrayDataset
from tlpot.data.dataset import Dataset, Problem
from tlpot.data.extxyz import frame_of, read_extxyz, understood
from tlpot.data.flat import FlatStore
from tlpot.data.joined import JoinedDataset
from tlpot.data.material_files import ID, is_material_file, read_materials, read_trajectory
from tlpot.data.native import read_native_spec
from tlpot.data.packed import open_store
from tlpot.data.program_outputs import output_kind, read_output
from tlpot.data.spec import DataSpec, SpecSource, UnitSpec, load_spec, spec_words, undescribed
from tlpot.data.spec_choice import select_level, with_keys
from tlpot.data.store import Store, check_stated_units, npz_names, npz_store, read_npz
from tlpot.data.xyz_file import XYZFrame, is_xyz
from tlpot.data.xyz_labels import with_stated_units
from tlpot.errors import ConfigError, DataError
from tlpot.files import check_text
from tlpot.levels import choose_level, difference_parts

PathLike = str | os.PathLike[str]

_ATOMS, _ARRAYS = Path("atoms"), Path("arrays")
"""What datasets that are in no file are called."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file and how to read it; the fields are the arguments of `open_dataset`."""

    path: str | os.PathLike[str]
    spec: SpecSource | None = None
    level: str | None = None
    keys: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.keys:  # numbers of a YAML file or of Python
            object.__setattr__(self, "keys", {name: str(key) for name, key in self.keys.items()})


DataSource = (
    PathLike
    | Source
    | Dataset
    | Atoms
    | Sequence[PathLike | Source]
    | Sequence[Atoms]
    | Sequence[Dataset]
    | Mapping[str, ArrayLike]
)
"""What can be opened: a file, several, structures with labels, datasets, or arrays by name."""


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
            ``arrays``; or arrays by name, as an npz file would hold them, with `spec`. A dataset
            is returned as it is, and several are joined.
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
    if isinstance(path, Mapping):
        return _open_arrays(path, Source(path=_ARRAYS, spec=spec, level=level, keys=keys))
    path = as_listed(path)
    if isinstance(path, str | os.PathLike | Source | Atoms):
        parts: Sequence[PathLike | Source | Atoms | Dataset] = [path]
    elif isinstance(path, list | tuple):
        parts = path
    else:
        return _opened(cast(Dataset, path), spec, level, keys)
    if not parts:
        raise DataError("no files given")
    datasets: list[Dataset] = []
    structures = []
    for part in parts:
        if isinstance(part, Atoms):
            structures.append(part)
        elif isinstance(part, Source):
            datasets.append(_open(part))
        elif isinstance(part, str | os.PathLike):
            datasets.append(_open(Source(path=part, spec=spec, level=level, keys=keys)))
        elif hasattr(part, "levels"):
            datasets.append(_opened(part, spec, level, keys))
        else:
            raise _not_data(path, part)
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
    if isinstance(source, Mapping) or hasattr(source, "columns"):  # would give the names in it
        raise _not_data(source, source)
    try:
        found = list(source)
    except TypeError:
        found = [source]
    for each in found:
        if not isinstance(each, str | os.PathLike | Source | Atoms) and not hasattr(each, "levels"):
            raise _not_data(source, each)
    return found


def _not_data(source: object, part: object) -> ConfigError:
    """Returns what to say of an object that is no data, or holds some that are none."""
    whole = type(source).__name__
    remedy = ""
    if part is not source:
        whole += f" of {type(part).__name__}"
    elif hasattr(source, "columns"):
        remedy = (
            "; of a table make structures: [Atoms(numbers, positions, info={'energy': ...}) for "
            "... in table.itertuples()]"
        )
    return ConfigError(f"expected files, ase.Atoms or a dataset, not {whole}{remedy}")


def _open(source: Source) -> ArrayDataset:
    if not os.fspath(source.path):
        raise DataError("the name of a file is empty")
    path = Path(source.path)
    if path.is_file():
        check_text(path)
    if is_material_file(path):
        return _open_materials(path, source)
    if path.suffix.lower() == ".traj":
        frames = [frame_of(atoms, k, path.name) for k, atoms in enumerate(read_trajectory(path))]
        return _open_frames(frames, path, source)
    if kind := output_kind(path):
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
    return _of_store(store, spec)


def _of_store(store: Store, spec: DataSpec) -> ArrayDataset:
    flat = spec.offsets is not None or spec.counts is not None
    return ArrayDataset(FlatStore(store, spec) if flat else store, spec)


def _open_arrays(arrays: Mapping[str, ArrayLike], source: Source) -> Dataset:
    """Reads arrays as an npz file would be that holds them."""
    columns = {str(name): np.asarray(array) for name, array in arrays.items()}
    if source.spec is None:
        raise DataError(f"arrays do not describe themselves; {undescribed('npz', columns)}")
    spec = _understood(load_spec(source.spec), source, str(_ARRAYS))
    if spec.container != "npz":
        raise ConfigError(
            f"arrays are read as npz files are, which {spec_words(source.spec)} is not for "
            "(container: npz)"
        )
    store = npz_store(_ARRAYS, columns, spec.numbers, spec.coordinates)
    check_stated_units(store, spec)
    return _of_store(store, spec)


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
    notes = list(found.problems)
    if stated and source.spec is None and not any("," in t for t in (source.keys or {}).values()):
        try:
            spec = with_stated_units(spec, stated)
        except ConfigError as error:
            raise DataError(f"{path} states the units of its labels: {error}") from None
        units = ", ".join(f"{key}: {unit}" for key, unit in stated.items())
        notes.append(Problem(severity="note", what=f"labels are read in the units stated: {units}"))
    spec = replace(spec, columns=tuple(dict.fromkeys((*spec.columns, *found.texts))))
    store, spec = understood(found.frames, path, spec, named_by=ID if found.named else None)
    store.problems = (*notes, *store.problems)
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
    if is_xyz(path):
        return load_spec("extxyz")
    if path.suffix.lower() == ".npz":
        raise DataError(
            f"{path}: an npz file does not describe itself; {undescribed('npz', npz_names(path))}"
        )
    return read_native_spec(path)


def files_or_atoms(given: object, name: str) -> list[str | os.PathLike[str] | Atoms]:
    """Returns what a job was given as a list: files, ``ase.Atoms``, frames of a dataset.

    Args:
        given: one or several of these.
        name: of the argument, for the message.

    Raises:
        ConfigError: something else.
    """
    parts = [given] if isinstance(given, str | os.PathLike | Atoms | Frame) else given
    if not isinstance(parts, Iterable):
        raise ConfigError(f"{name} is a {type(given).__name__}; {_LISTED}")
    found = [part.system.to_atoms() if isinstance(part, Frame) else part for part in parts]
    for part in found:
        if not isinstance(part, str | os.PathLike | Atoms):
            raise ConfigError(f"{name} has a {type(part).__name__} in it; {_LISTED}")
    return found


_LISTED = "expected files, ase.Atoms or frames of a dataset, one or several"
