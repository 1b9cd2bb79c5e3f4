"""Opening datasets: one call for every layout, one file or several."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ase import Atoms

from tlpot.data.arrays import ArrayDataset
from tlpot.data.dataset import Dataset
from tlpot.data.extxyz import frame_of, read_extxyz, understood
from tlpot.data.hdf5 import HDF5Store
from tlpot.data.joined import JoinedDataset
from tlpot.data.native import read_native_spec
from tlpot.data.spec import DataSpec, load_spec, select_level, with_keys
from tlpot.data.store import read_npz
from tlpot.errors import ConfigError, DataError
from tlpot.levels import choose_level, difference_parts

_COMPRESSED = (".gz", ".xz", ".bz2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file and how to read it; the fields are the arguments of `open_dataset`."""

    path: str | os.PathLike[str]
    spec: str | os.PathLike[str] | None = None
    level: str | None = None
    keys: Mapping[str, str] | None = None


PathLike = str | os.PathLike[str]
DataSource = PathLike | Source | Dataset | Atoms | Sequence[PathLike | Source] | Sequence[Atoms]
"""What can be opened: a file, several, or structures with labels."""

_ATOMS = Path("atoms")
"""What a dataset that is in no file is called."""


def open_dataset(
    path: DataSource,
    spec: PathLike | None = None,
    *,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
) -> Dataset:
    """Opens a file of QM labels, or several as one dataset.

    Args:
        path: the file; a list of files, or of `Source` where they differ in layout or level; or
            `ase.Atoms`, one or several, with labels as extended XYZ files have them: results of
            their calculators, or ``energy``, ``forces`` and ``stress`` in ``info`` and
            ``arrays``. A dataset is returned as it is.
        spec: name or path of the description of its layout. Files in tlpot's own layout and
            extended XYZ need none.
        level: the level of theory of the labels, where the layout does not say; elsewhere, the
            only level to read.
        keys: names of arrays that differ from the description: ``{"energy": "energy_xtb"}``.

    Raises:
        DataError: no such file, damaged, not what its description says, or without frames.
        ConfigError: no such description, or a mistake in it.
        UnknownLevelError: the level is not there, or none was named and the layout does not
            say which it is.
    """
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


def _open(source: Source) -> ArrayDataset:
    path = Path(source.path)
    if path.is_dir():
        raise DataError(f"{path} is a folder; list the files in it")
    spec = select_level(_spec(path, source.spec), source.level, str(path))
    spec = with_keys(spec, source.keys or {})
    if spec.container == "hdf5":
        store = HDF5Store(path, spec.numbers, spec.coordinates, spec.groups)
        return ArrayDataset(store, spec)
    if spec.container == "npz":
        return ArrayDataset(read_npz(path, spec.numbers, spec.coordinates), spec)
    return ArrayDataset(*read_extxyz(path, spec))


def _opened(
    dataset: Dataset,
    spec: PathLike | None,
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
    spec = load_spec("extxyz" if source.spec is None else source.spec)
    if spec.container != "extxyz":
        raise ConfigError(f"spec={str(source.spec)!r} describes no extended XYZ, as atoms are read")
    spec = with_keys(select_level(spec, source.level, "atoms"), source.keys or {})
    frames = [frame_of(atoms, number) for number, atoms in enumerate(structures)]
    return ArrayDataset(*understood(frames, _ATOMS, spec))


def _spec(path: Path, name: PathLike | None) -> DataSpec:
    if name is not None:
        return load_spec(name)
    kind = path.suffix if path.suffix not in _COMPRESSED else path.with_suffix("").suffix
    if kind in (".xyz", ".extxyz"):
        return load_spec("extxyz")
    if kind == ".npz":
        raise DataError(
            f"{path}: an npz file does not describe itself; name a description with spec=... "
            "(spec='physnet' for arrays N, Z, R, E, F)"
        )
    return read_native_spec(path)
