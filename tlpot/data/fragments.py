"""Capped fragments of proteins in the native layout: kinds of fragments, and their geometries."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tlpot._version import __version__
from tlpot.data.hdf5 import json_attribute, open_hdf5, written_hdf5
from tlpot.data.native import append_rows, geometry_groups
from tlpot.data.split_groups import PRECISION
from tlpot.errors import DataError


@dataclass(frozen=True, kw_only=True)
class FragmentGraph:
    """A capped molecular graph in canonical order of its atoms.

    Attributes:
        key: name of the group in a file; kinds with the same key are the same molecule.
        name: for people, such as ``ACE-ALA-NME``.
        charge: formal charge, e.
        multiplicity: 2S + 1.
        atomic_numbers: [n], int64; caps are last.
        is_cap: [n], bool.
        cap_host: [n_caps], the atom that each cap is bound to.
        cap_gone: [n_caps], atomic number of the atom that each cap replaces.
        bonds: [n_bonds, 2], int64, those of the caps included; the smaller index first, sorted.
        unit_id: [n], which unit of the protein an atom belongs to, numbered from 0 on; that of
            a cap is its host's.
    """

    key: str
    name: str
    charge: int
    multiplicity: int = 1
    atomic_numbers: NDArray[np.int64]
    is_cap: NDArray[np.bool_]
    cap_host: NDArray[np.int64]
    cap_gone: NDArray[np.int64]
    bonds: NDArray[np.int64]
    unit_id: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.atomic_numbers)

    def is_same_graph(self, other: FragmentGraph) -> bool:
        """Whether elements, caps, charge and bonds are equal atom by atom."""
        return (self.charge, self.multiplicity) == (other.charge, other.multiplicity) and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("atomic_numbers", "is_cap", "cap_host", "cap_gone", "bonds")
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentSource:
    """Where a fragment was cut out.

    Attributes:
        source: the protein; a split by source keeps all its fragments together.
        trajectory: the run that the frame is from, if there are several.
        frame: number of the frame.
        scheme: name of the fragment scheme.
        residues: the residues that it has atoms of.
        seed: of the choice among many geometries; -1 where none was made.
    """

    source: str
    trajectory: str = ""
    frame: int = 0
    scheme: str = ""
    residues: str = ""
    seed: int = -1


@dataclass(frozen=True, kw_only=True)
class FragmentRows:
    """Geometries of one kind.

    Attributes:
        kind: what they are.
        positions: [m, n, 3], Å, in the order of the kind's atoms.
        sources: where each is from.
        weight: [m], coefficient of each in the energy of its source.
    """

    kind: FragmentGraph
    positions: NDArray[np.float64]
    sources: tuple[FragmentSource, ...]
    weight: NDArray[np.float64]


UNITS = {"coordinates": "angstrom", "energy": "ev", "forces": "ev/angstrom"}
"""Of fragment files that are made new."""

_TEXT = h5py.string_dtype()
_TYPES: Mapping[str, Any] = {
    "source": _TEXT, "trajectory": _TEXT, "frame": "i4", "scheme": _TEXT, "residues": _TEXT,
    "seed": "i8",
}  # fmt: skip


def is_fragment_file(path: Path) -> bool:
    """Whether a file is HDF5 whose root says that it holds fragments.

    Raises:
        DataError: it is HDF5 of tlpot's with a schema that is not known, or truncated.
    """
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as handle:
        return "fragments" in handle.attrs and "levels" in handle.attrs


def fragment_kinds(path: Path) -> tuple[FragmentGraph, ...]:
    """Returns the kinds of a fragment file in the order of their frames.

    Raises:
        DataError: it is no fragment file, or what it says of a kind does not fit together.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    if not is_fragment_file(path):
        raise DataError(
            f"{path} is not a fragment file (no root attribute 'fragments'); export_fragments "
            "writes them"
        )
    with open_hdf5(path) as handle:
        return tuple(_read_kind(group, path) for group in geometry_groups(handle))


@contextmanager
def edited_fragments(
    path: str | os.PathLike[str], about: Mapping[str, Any] | None = None
) -> Iterator[h5py.File]:
    """Yields a copy of a fragment file, or a new one, that replaces it at the end.

    Args:
        path: the file.
        about: what holds for all fragments, such as the cap rule; an existing file must say the
            same.

    Raises:
        DataError: an existing file is no fragment file, is damaged or says something else.
        OutputError: it could not be written; an existing file is left as it was.
    """
    target = Path(path)
    exists = target.exists()
    if exists and not is_fragment_file(target):
        raise DataError(
            f"{target} exists and is not a fragment file; choose another name, or remove it"
        )
    with written_hdf5(target, target if exists else None) as handle:
        if not exists:
            root = {"levels": {}, "units": UNITS, "fragments": dict(about or {})}
            handle.attrs.update({name: json.dumps(value) for name, value in root.items()})
            handle.attrs["layout"] = "ani1x"
            handle.attrs["created_by"] = f"tlpot {__version__}"
        known = json_attribute(handle, "fragments", target)
        for name, value in json.loads(json.dumps(dict(about or {}))).items():
            if known.get(name) != value:
                raise DataError(
                    f"{target}: attribute 'fragments' has {known.get(name)!r} for {name!r}, and "
                    f"fragments made now have {value!r}; they do not belong into one file"
                )
        unit = json_attribute(handle, "units", target).get("coordinates")
        if unit != UNITS["coordinates"]:
            raise DataError(f"{target} has coordinates in {unit!r}; only Å can be added to")
        yield handle


def add_rows(handle: h5py.File, path: Path, rows: FragmentRows) -> NDArray[np.int64]:
    """Adds geometries to an open file, and returns the row there of each, [m].

    A geometry that the file has already (to 1e-5 Å, atom by atom) is not written again.

    Raises:
        DataError: shapes that do not fit, positions that are not finite, or a kind that the file
            has with another graph.
    """
    _check_rows(rows, path)
    group = _kind_group(handle, path, rows.kind)
    before = group["coordinates"][()] if "coordinates" in group else ()
    known = {print_: k for k, print_ in enumerate(geometry_prints(before))}
    found, new = [], []
    for k, print_ in enumerate(geometry_prints(rows.positions)):
        if print_ not in known:
            known[print_] = len(known)
            new.append(k)
        found.append(known[print_])
    if new:
        origins = {
            name: np.array([getattr(rows.sources[k], name) for k in new], dtype=dtype)
            for name, dtype in _TYPES.items()
        }
        columns = {
            "coordinates": (rows.positions[new], np.nan),
            "weight": (rows.weight[new].astype("f4"), np.nan),
            "charge": (np.full(len(new), rows.kind.charge), 0),
            "spin": (np.full(len(new), rows.kind.multiplicity), 1),
            **{name: (values, None) for name, values in origins.items()},
        }
        append_rows(group, columns)
    return np.array(found, dtype=np.int64)


def geometry_prints(positions: Iterable[NDArray[np.float64]]) -> list[bytes]:
    """Returns what tells geometries of one kind apart, to 1e-5 Å."""
    return [(np.rint(x / PRECISION) + 0.0).tobytes() for x in positions]


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


def _kind_group(handle: h5py.File, path: Path, kind: FragmentGraph) -> h5py.Group:
    name = f"fragments/{kind.key}"
    if kind.key in handle:  # as a conversion writes them
        name = kind.key
    if name in handle:
        group = handle[name]
        if "coordinates" in group and not _read_kind(group, path).is_same_graph(kind):
            raise DataError(
                f"{path}:{group.name} has another molecular graph than the {kind.name} that is to "
                "be added under this name; was the file written by another version?"
            )
        return group
    group = handle.create_group(name)
    caps = [np.flatnonzero(kind.is_cap), kind.cap_host, kind.cap_gone]
    group.attrs["molecule"], group.attrs["kind"] = kind.key, kind.name
    group.attrs["bonds"] = kind.bonds.reshape(-1, 2).astype(np.int32)
    group.attrs["caps"] = np.stack(caps, axis=1).astype(np.int32)
    group.attrs["unit_id"] = kind.unit_id.astype(np.int32)
    group["atomic_numbers"] = kind.atomic_numbers.astype(np.uint8)
    return group


def _read_kind(group: h5py.Group, path: Path) -> FragmentGraph:
    where = f"{path}:{group.name}"
    for name in ("kind", "bonds", "caps", "unit_id"):
        if name not in group.attrs:
            raise DataError(f"{where} has no attribute {name!r}, so it is no kind of fragment")
    numbers = np.asarray(group["atomic_numbers"], dtype=np.int64)
    caps = np.asarray(group.attrs["caps"], dtype=np.int64).reshape(-1, 3)
    bonds = np.asarray(group.attrs["bonds"], dtype=np.int64).reshape(-1, 2)
    units = np.asarray(group.attrs["unit_id"], dtype=np.int64)
    for name, atoms in (("caps", caps[:, :2]), ("bonds", bonds)):
        if atoms.size and not 0 <= atoms.min() <= atoms.max() < len(numbers):
            raise DataError(f"{where}: {name!r} names an atom that is not among {len(numbers)}")
    if units.shape != numbers.shape:
        raise DataError(f"{where}: 'unit_id' has shape {units.shape}, expected {numbers.shape}")
    is_cap = np.zeros(len(numbers), dtype=bool)
    is_cap[caps[:, 0]] = True
    return FragmentGraph(
        key=str(group.attrs.get("molecule", group.name.strip("/"))),
        name=str(group.attrs["kind"]),
        charge=int(group["charge"][0]) if "charge" in group else 0,
        multiplicity=int(group["spin"][0]) if "spin" in group else 1,
        atomic_numbers=numbers,
        is_cap=is_cap,
        cap_host=caps[:, 1],
        cap_gone=caps[:, 2],
        bonds=bonds,
        unit_id=units,
    )
