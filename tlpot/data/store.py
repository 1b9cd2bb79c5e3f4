"""Where arrays come from, HDF5 aside, and numbers, elements and directions out of them.

Only what is unambiguous is converted: a truth value is no energy, and text is no direction.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from tlpot.data.dataset import Problem
from tlpot.data.spec import DataSpec
from tlpot.errors import DataError, nearest
from tlpot.units import energy_factor, length_factor


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Frames stored together: an HDF5 group, an npz file, a run of equal XYZ frames.

    Attributes:
        group: the molecule, where the layout names it; else None.
        label: what to call it in a message: ``data.h5:/methanol``.
        first_row: the number of its first frame in a message.
        shapes: shape of every column.
        unread: what the file holds here beside the columns.
        row_names: of its frames in a message, where they have names of their own.
    """

    group: str | None
    label: str
    shapes: Mapping[str, tuple[int, ...]]
    first_row: int = 0
    unread: frozenset[str] = frozenset()
    row_names: tuple[str, ...] = ()


class Store(Protocol):
    """Raw columns of a file, as stored."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def sections(self) -> Sequence[Section]:
        """The sections, in file order."""
        ...

    @property
    def linked(self) -> Sequence[Path]:
        """Other files that hold part of the content."""
        ...

    @property
    def outside(self) -> Sequence[str]:
        """Names of arrays that are in no section."""
        ...

    @property
    def read_from(self) -> Mapping[str, Sequence[str]]:
        """Names in the file of labels that have others here, by level; nothing if as they are."""
        ...

    @property
    def problems(self) -> Sequence[Problem]:
        """What was found and passed over when the file was opened."""
        ...

    def attributes(self, section: int | None = None) -> Mapping[str, Any]:
        """Returns what the file says of a section, or of all of itself, beside the columns."""
        ...

    def read(self, section: int, key: str, rows: slice | None = None) -> NDArray:
        """Returns a column, or some of its rows.

        Raises:
            DataError: the file is damaged.
        """
        ...


class MemoryStore:
    """Columns held in memory.

    Args:
        path: the file they came from.
        sections: what they are.
        columns: arrays by name, for every section.
        problems: what was found when the file was read.
        attributes: what is said of the whole, such as ``columns``.
        read_from: see `Store.read_from`.
    """

    linked: Sequence[Path] = ()
    outside: Sequence[str] = ()

    def __init__(
        self,
        path: Path,
        sections: Sequence[Section],
        columns: Sequence[Mapping[str, NDArray]],
        problems: Sequence[Problem] = (),
        attributes: Mapping[str, Any] | None = None,
        read_from: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.path = path
        self.read_from = read_from or {}
        self._attributes = attributes or {}
        self.problems = problems
        self.sections = sections
        self._columns = columns

    def attributes(self, section: int | None = None) -> Mapping[str, Any]:
        """Returns what is said of the whole; nothing of a section."""
        return self._attributes if section is None else {}

    def read(self, section: int, key: str, rows: slice | None = None) -> NDArray:
        """Returns a column, or some of its rows."""
        column = np.asarray(self._columns[section][key])
        return column if rows is None else column[rows]

    def content_hash(self) -> str:
        """Returns a SHA-256 of the columns, for what is in no file."""
        digest = hashlib.sha256()
        for columns in self._columns:
            for name, column in sorted(columns.items()):
                array = np.ascontiguousarray(column)
                content = str(array.tolist()).encode() if array.dtype == object else array.tobytes()
                digest.update(f"{name} {array.dtype} {array.shape} ".encode() + content)
        return digest.hexdigest()


def npz_names(path: Path) -> list[str]:
    """Returns the names of the arrays of an archive.

    Raises:
        DataError: see `read_npz`.
    """
    return [*_read_archive(path)]


def _read_archive(path: Path) -> dict[str, NDArray]:
    try:
        with path.open("rb") as handle:
            if not zipfile.is_zipfile(handle):
                raise DataError(
                    f"{path} is not a complete npz archive: it was cut off, or is of another kind; "
                    "fetch it again, or name a description for what it is (spec=...)"
                )
            handle.seek(0)
            with np.load(handle, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except DataError:
        raise
    except Exception as error:  # numpy, zipfile and zlib raise a dozen kinds for damage
        why = str(error)
        if "allow_pickle" in why:  # numpy would have the user load them
            why = "it holds Python objects, which may be code; write numbers and text"
        raise DataError(f"{path} is not a complete npz archive of plain arrays ({why})") from error


def read_npz(path: Path, numbers: str, coordinates: str) -> MemoryStore:
    """Reads an archive as one section.

    Args:
        path: the file.
        numbers: name of the array of atomic numbers.
        coordinates: name of the array of positions.

    Raises:
        DataError: no such file, not an archive, truncated, or an array is missing.
    """
    return npz_store(path, _read_archive(path), numbers, coordinates)


def npz_store(
    path: Path, columns: Mapping[str, NDArray], numbers: str, coordinates: str
) -> MemoryStore:
    """Returns arrays as one section; see `read_npz`."""
    for key in (numbers, coordinates):
        if key not in columns:
            raise DataError(f"{path}: no array {key!r}{nearest(key, columns)}")
    section = Section(
        group=None, label=path.name, shapes={name: a.shape for name, a in columns.items()}
    )
    return MemoryStore(path, [section], [columns])


def check_stated_units(store: MemoryStore, spec: DataSpec) -> None:
    """Checks the units that a file names against those of its description.

    Raises:
        DataError: they differ.
    """
    units = spec.units
    for kind, key in units.stated.items():
        if key not in store.sections[0].shapes:
            continue
        factor = energy_factor if kind == "energy" else length_factor
        said = " ".join(str(each) for each in store.read(0, key).reshape(-1).tolist())
        expected = units.of_energy if kind == "energy" else units.coordinates
        try:
            same = factor(said) == factor(expected)
        except DataError:
            same = False
        if not same:
            raise DataError(
                f"{store.path}: {key} says that the unit of {kind} is {said!r}, but the "
                f"description says {expected!r}; copy the description with that unit "
                "(data_specs/README.md)"
            )


_ONE_FRAME = (
    "; one frame in each group, as in QM7-X, is not read: gather them with h5py, as ase.Atoms with "
    "info['energy'], arrays['forces'] and info['molecule'] = the group above, and open the list, "
    "or write it as extended XYZ (group: molecule keeps conformers together in a split)"
)


def check_shapes(section: Section, spec: DataSpec) -> None:
    """Checks the shape of every array that the description mentions.

    Raises:
        DataError: a shape does not fit; the message says which would.
    """
    shapes = section.shapes
    coordinates = shapes[spec.coordinates]
    if len(coordinates) != 3 or coordinates[2] != 3:
        raise DataError(
            f"{section.label}: {spec.coordinates!r} has shape {coordinates}, "
            "expected (frames, atoms, 3)"
            + _ONE_FRAME
            * (len(coordinates) == 2 and coordinates[1] == 3)
        )
    m, n = coordinates[:2]
    expected: dict[str, set[tuple[int, ...]]] = {spec.numbers: {(n,), (m, n)}}
    for key, options in (
        (spec.cell, {(3, 3), (m, 3, 3)}),
        (spec.pbc, {(3,), (m, 3)}),
        (spec.charge_key, {(), (1,), (m,)}),
        (spec.spin_key, {(), (1,), (m,)}),
    ):
        if key:
            expected[key] = options
    for level in spec.levels.values():
        expected |= {key: {(m,), (m, 1)} for key in level.energy_keys}
        if level.forces:
            expected[level.forces] = {(m, n, 3)}
        if level.stress:
            expected[level.stress] = {(m, 3, 3), (m, 6)}
    labels = {key for level in spec.levels.values() for key in level.keys}
    for key, allowed in expected.items():
        if key in labels and 0 in shapes.get(key, ()):
            continue  # an array without any element, as SPICE has, is an absent label
        if key in shapes and shapes[key] not in allowed:
            raise DataError(
                f"{section.label}: {key!r} has shape {shapes[key]}, but {m} frames of {n} atoms "
                f"need {' or '.join(str(s) for s in sorted(allowed, key=len))}"
            )


def as_numbers(stored: NDArray, where: str, *, half: bool = False) -> NDArray[np.float64]:
    """Returns real numbers, which may be stored as text.

    Args:
        stored: of any type.
        where: what to call the array in a message.
        half: whether floats of 16 bits will do.

    Raises:
        DataError: complex numbers, truth values, records, arrays of several lengths, text that is
            no number, or floats of 16 bits.
    """
    kind = stored.dtype.kind
    if kind == "c":
        raise DataError(f"{where} holds complex numbers, expected real ones")
    if kind == "b":
        raise DataError(f"{where} holds truth values, expected numbers")
    if kind == "V":
        fields = ", ".join(stored.dtype.names or ()) or "raw bytes"
        raise DataError(
            f"{where} is of a compound type ({fields}), expected numbers; store each field as an "
            "array of its own"
        )
    if kind == "O" and not _all_text(stored):
        raise DataError(
            f"{where} holds arrays of several lengths or references, expected numbers; store it "
            "as one array"
        )
    if stored.dtype == np.float16 and not half:
        raise DataError(
            f"{where} holds floats of 16 bits, which have 3 digits, too few for energies and "
            "positions; write it again from the original numbers with 64 bits"
        )
    try:
        return stored.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} holds what is no number ({error})") from error


def as_whole(stored: NDArray, where: str) -> NDArray[np.int64]:
    """Returns whole numbers, such as charges.

    Raises:
        DataError: see `as_numbers`; or a number is not whole, or is a negative one that was
            stored without its sign (255 in 8 bits for -1).
    """
    numbers = as_numbers(stored, where)
    whole = np.rint(numbers)
    if not (np.abs(numbers - whole) < 1e-3).all():
        raise DataError(f"{where} holds values that are not whole numbers")
    if stored.dtype.kind == "u" and stored.size:
        top = np.iinfo(stored.dtype).max
        if whole.max() > top // 2:
            raise DataError(
                f"{where} holds {whole.max():g} as {stored.dtype}, which is what "
                f"{whole.max() - top - 1:g} becomes without a sign; write it as signed integers"
            )
    return whole.astype(np.int64)


def as_periodic(stored: NDArray, where: str) -> NDArray[np.bool_]:
    """Returns which directions are periodic.

    Raises:
        DataError: the values are neither truth values nor the numbers 0 and 1; text such as "F"
            and NaN would both count as true.
    """
    if stored.dtype.kind == "b":
        return stored.astype(np.bool_)
    if stored.dtype.kind not in "iuf" or not np.isin(stored, (0, 1)).all():
        odd = stored[~np.isin(stored, (0, 1))] if stored.dtype.kind in "iuf" else stored
        raise DataError(
            f"{where} holds {odd.reshape(-1).tolist()[0]!r}, which does not say whether a "
            "direction is periodic; write true and false, or 1 and 0"
        )
    return stored.astype(np.bool_)


def as_elements(stored: NDArray, where: str) -> NDArray[np.int64]:
    """Returns atomic numbers, from these or from element symbols.

    Args:
        stored: [n_atoms], or [n_rows, n_atoms] where 0 or an empty symbol after the atoms of a
            row marks unused places.
        where: what to call the array in a message.

    Raises:
        DataError: not an element, or 0 where an atom should be.
    """
    if stored.dtype.kind in "SUO":
        numbers = _from_symbols(stored, where)
    else:
        found = as_numbers(stored, where)
        elements = (found >= 0) & (found < len(chemical_symbols)) & (found % 1 == 0)
        if not elements.all():
            odd = found[~elements].flat[0]
            raise DataError(f"{where} holds {odd:g}, which is no atomic number")
        numbers = found.astype(np.int64)
    if numbers.ndim == 1 and (numbers == 0).any():
        raise DataError(
            f"{where} has no element for atom {int(np.argmin(numbers != 0))} (0 or an empty "
            "symbol); numbers that hold for all frames are not padded, so this atom would be lost"
        )
    if numbers.ndim == 2 and ((numbers[:, :-1] == 0) & (numbers[:, 1:] != 0)).any():
        row = int(np.argmax(((numbers[:, :-1] == 0) & (numbers[:, 1:] != 0)).any(axis=1)))
        raise DataError(
            f"{where} has 0 before an atom in row {row}; only places after the last atom of a row "
            "may be padded"
        )
    return numbers


def _from_symbols(stored: NDArray, where: str) -> NDArray[np.int64]:
    if stored.dtype.kind == "O" and not _all_text(stored):
        raise DataError(f"{where} holds neither atomic numbers nor symbols")
    try:
        text = stored.astype(str)
    except UnicodeDecodeError as error:
        raise DataError(f"{where} holds symbols that are no text ({error})") from error
    symbols, places = np.unique(np.char.strip(text), return_inverse=True)
    unknown = [str(symbol) for symbol in symbols if symbol and not atomic_numbers.get(symbol)]
    if unknown:
        raise DataError(f"{where}: {unknown[0]!r} is not an element symbol")
    numbers = np.array([atomic_numbers[s] if s else 0 for s in symbols], dtype=np.int64)
    return numbers[places].reshape(stored.shape)


def _all_text(stored: NDArray) -> bool:
    return all(isinstance(item, str | bytes) for item in stored.flat)
