"""Opening datasets: one call for every layout, one file or several."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlpot.data.arrays import ArrayDataset
from tlpot.data.dataset import Dataset
from tlpot.data.extxyz import read_extxyz
from tlpot.data.hdf5 import HDF5Store
from tlpot.data.joined import JoinedDataset
from tlpot.data.native import read_native_spec
from tlpot.data.spec import DataSpec, load_spec, select_level, with_keys
from tlpot.data.store import read_npz
from tlpot.errors import DataError

_COMPRESSED = (".gz", ".xz", ".bz2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file and how to read it; the fields are the arguments of `open_dataset`."""

    path: str | os.PathLike[str]
    spec: str | os.PathLike[str] | None = None
    level: str | None = None
    keys: Mapping[str, str] | None = None


PathLike = str | os.PathLike[str]


def open_dataset(
    path: PathLike | Source | Sequence[PathLike | Source],
    spec: PathLike | None = None,
    *,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
) -> Dataset:
    """Opens a file of QM labels, or several as one dataset.

    Args:
        path: the file; or a list of files, or of `Source` where they differ in layout or level.
        spec: name or path of the description of its layout. Files in tlpot's own layout
            and extended XYZ need none.
        level: the level of theory of the labels, where the layout does not say; elsewhere, the
            only level to read.
        keys: names of arrays that differ from the description: ``{"energy": "energy_xtb"}``.

    Raises:
        DataError: no such file, damaged, not what its description says, or without frames.
        ConfigError: no such description, or a mistake in it.
        UnknownLevelError: the level is not there, or none was named and the layout does not
            say which it is.
    """
    if isinstance(path, str | os.PathLike | Source):
        parts: Sequence[PathLike | Source] = [path]
    else:
        parts = path
    if not parts:
        raise DataError("no files given")
    datasets = [
        _open(
            part
            if isinstance(part, Source)
            else Source(path=part, spec=spec, level=level, keys=keys)
        )
        for part in parts
    ]
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
