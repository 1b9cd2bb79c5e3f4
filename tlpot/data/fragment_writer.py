"""Writing fragment files: geometries and labels are added, and nothing is ever half there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tlpot._version import __version__
from tlpot.data.fragment_layout import (
    SCHEMA,
    SOURCE_COLUMNS,
    UNITS,
    VERSION,
    FragmentKind,
    FragmentRows,
    FragmentSource,
    is_fragment_file,
    read_kind,
    read_units,
)
from tlpot.data.fragment_store import FragmentStore
from tlpot.data.split import PRECISION
from tlpot.errors import DataError
from tlpot.files import atomic_file

_CHUNK_ROWS = 256
_TEXT = h5py.string_dtype()
_SOURCE_TYPES: dict[str, Any] = {
    "source": _TEXT, "trajectory": _TEXT, "frame": "i4", "scheme": _TEXT, "residues": _TEXT,
    "seed": "i8",
}  # fmt: skip


@contextmanager
def edited(path: str | os.PathLike[str], *, about: Mapping[str, Any] | None = None) -> Iterator[
    h5py.File
]:  # fmt: skip
    """Yields a copy of a fragment file, or a new one, that replaces it at the end.

    Args:
        path: the file; it need not exist if `about` is given.
        about: attributes of the root of a new file, such as the cap rule; an existing file must
            have the same.

    Raises:
        DataError: an existing file is no fragment file, is damaged, has other units or other
            attributes; or there is none and `about` is not given.
        OutputError: it could not be written; an existing file is left as it was.
    """
    target = Path(path)
    exists = target.exists()
    if exists:
        _check_existing(target, about or {})
    elif about is None:
        raise DataError(f"no such file: {target}; write geometries first, then labels")
    with atomic_file(target) as temporary:
        try:
            with h5py.File(temporary, "w") as handle:
                if exists:
                    _copy(target, handle)
                else:
                    _begin(handle, about or {})
                yield handle
        except RuntimeError as error:  # HDF5 reports some failed writes this way
            raise OSError(str(error)) from error


def append_fragments(
    path: str | os.PathLike[str],
    rows: Iterable[FragmentRows],
    *,
    about: Mapping[str, Any] | None = None,
) -> list[NDArray[np.int64]]:
    """Adds geometries to a fragment file, which is made if it does not exist.

    A geometry that the file has already (to 1e-5 Å, atom by atom) is not written again.

    Args:
        path: the HDF5 file.
        rows: what to add, kind by kind.
        about: attributes of the root, such as the cap rule; see `edited`.

    Returns:
        For each of `rows`, [m], the row in the file of each geometry.

    Raises:
        DataError: shapes that do not fit, positions that are not finite, or a kind that the file
            has with another graph.
        OutputError: the file could not be written; an existing one is left as it was.
    """
    with edited(path, about=about or {}) as handle:
        return [add_rows(handle, Path(path), some) for some in rows]


def add_rows(handle: h5py.File, path: Path, rows: FragmentRows) -> NDArray[np.int64]:
    """Adds geometries to an open file; see `append_fragments`."""
    _check_rows(rows, path)
    group = _kind_group(handle, path, rows.kind)
    known = {print_: k for k, print_ in enumerate(_prints(group["positions"][()]))}
    found, new = [], []
    for k, print_ in enumerate(_prints(rows.positions)):
        if print_ not in known:
            known[print_] = len(known)
            new.append(k)
        found.append(known[print_])
    if new:
        source = _add_sources(handle, [rows.sources[k] for k in new])
        _extend(group["positions"], rows.positions[new])
        _extend(group["source"], source)
        _extend(group["weight"], rows.weight[new])
    return np.array(found, dtype=np.int64)


def _prints(positions: NDArray[np.float64]) -> list[bytes]:
    return [(np.rint(x / PRECISION) + 0.0).tobytes() for x in positions]


def _check_existing(path: Path, about: Mapping[str, Any]) -> None:
    if not is_fragment_file(path):
        raise DataError(
            f"{path} exists and is not a fragment file; choose another name, or remove it"
        )
    FragmentStore(path)
    with h5py.File(path, "r") as handle:
        units = read_units(handle, path)
        if units != UNITS:
            raise DataError(
                f"{path}: root attribute 'units' is {json.dumps(units)}; only files in "
                f"{json.dumps(UNITS)} can be added to"
            )
        for name, value in about.items():
            here = handle.attrs.get(name)
            if here != (value if isinstance(value, str) else json.dumps(value)):
                raise DataError(
                    f"{path}: root attribute {name!r} is {here!r}, and fragments made now have "
                    f"{value!r}; they do not belong into one file"
                )


def _copy(path: Path, handle: h5py.File) -> None:
    """Copies everything; object by object, so that freed space stays behind."""
    with h5py.File(path, "r") as old:
        handle.attrs.update(old.attrs)
        for name in old:
            old.copy(name, handle)


def _begin(handle: h5py.File, about: Mapping[str, Any]) -> None:
    handle.attrs["schema"] = SCHEMA
    handle.attrs["schema_version"] = VERSION
    handle.attrs["units"] = json.dumps(UNITS)
    handle.attrs["created_by"] = f"tlpot {__version__}"
    for name, value in about.items():
        handle.attrs[name] = value if isinstance(value, str) else json.dumps(value)
    for name in ("fragments", "levels", "sources"):
        handle.create_group(name)
    for name in SOURCE_COLUMNS:
        handle["sources"].create_dataset(
            name, shape=(0,), maxshape=(None,), dtype=_SOURCE_TYPES[name], chunks=(1024,)
        )


def _check_rows(rows: FragmentRows, path: Path) -> None:
    where = f"{path}: {rows.kind.key}"
    m, n = len(rows.sources), len(rows.kind)
    if rows.positions.shape != (m, n, 3):
        raise DataError(
            f"{where}: positions have shape {rows.positions.shape}, but {m} sources and {n} atoms "
            f"need {(m, n, 3)}"
        )
    if rows.weight.shape != (m,):
        raise DataError(f"{where}: weight has shape {rows.weight.shape}, expected {(m,)}")
    bad = ~np.isfinite(rows.positions).all(axis=(1, 2))
    if bad.any():
        raise DataError(f"{where}: the positions of geometry {int(bad.argmax())} are not finite")


def _kind_group(handle: h5py.File, path: Path, kind: FragmentKind) -> h5py.Group:
    if kind.key in handle["fragments"]:
        group = handle["fragments"][kind.key]
        if not read_kind(group, path).is_same_graph(kind):
            raise DataError(
                f"{path}:{group.name} has another molecular graph than the {kind.name} that is to "
                "be added under this name; was the file written by another version?"
            )
        return group
    group = handle["fragments"].create_group(kind.key)
    group.attrs["name"] = kind.name
    group.attrs["charge"] = kind.charge
    group.attrs["multiplicity"] = kind.multiplicity
    for name, array, dtype in (
        ("numbers", kind.atomic_numbers, "u1"),
        ("is_cap", kind.is_cap, "?"),
        ("cap_host", kind.cap_host, "i4"),
        ("cap_gone_element", kind.cap_gone, "u1"),
        ("bonds", kind.bonds.reshape(-1, 2), "i2"),
        ("unit_id", kind.unit_id, "i2"),
    ):
        group.create_dataset(name, data=np.asarray(array).astype(dtype))
    n = len(kind)
    for name, shape, dtype in (("positions", (n, 3), "f8"), ("source", (), "i4"),
                               ("weight", (), "f4")):  # fmt: skip
        make_column(group, name, shape, dtype)
    return group


def make_column(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    """Makes an empty dataset that grows by rows of a shape."""
    return group.create_dataset(
        name,
        shape=(0, *shape),
        maxshape=(None, *shape),
        dtype=dtype,
        chunks=(_CHUNK_ROWS, *shape),
        compression="gzip",
        shuffle=True,
    )


def _add_sources(handle: h5py.File, sources: Sequence[FragmentSource]) -> NDArray[np.int64]:
    group = handle["sources"]
    first = len(group["source"])
    for name in SOURCE_COLUMNS:
        values = [getattr(source, name) for source in sources]
        _extend(group[name], np.array(values, dtype=_SOURCE_TYPES[name]))
    return np.arange(first, first + len(sources))


def _extend(dataset: h5py.Dataset, values: NDArray) -> None:
    n = len(dataset)
    dataset.resize(n + len(values), axis=0)
    dataset[n:] = values
