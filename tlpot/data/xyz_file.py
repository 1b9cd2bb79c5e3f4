"""XYZ files, plain or extended, as frames of named numbers; nothing is interpreted here.

The format is that of ASE (``ase.io.extxyz``), read strictly: a key that is given twice, columns
that ``Properties`` lacks and open quotation marks are errors; else something would be lost.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from tlpot.data.program_comments import read_program_comment, units_beside, worth_a_warning
from tlpot.errors import DataError, TLPotWarning
from tlpot.files import not_utf8

_CLOSING = {'"': '"', "'": "'", "[": "]", "{": "}"}
_INTEGER = re.compile(r"[+-]?\d+")
_REAL = re.compile(
    r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE
)
_FLAG = re.compile("T|F|True|False")
_BOOLEANS = {"T": True, "F": False} | {
    spelling: spelling.lower() == "true"
    for word in ("true", "false")
    for spelling in (word, word.capitalize(), word.upper())
}
_FORTRAN_ORDER = ("virial", "stress")
"""Keys whose nine numbers are the columns of a matrix, as ASE writes them."""


def parse_comment(line: str) -> dict[str, Any]:
    """Returns what a comment line holds; numbers, booleans and arrays of them are converted.

    A word without ``=`` is true; a line without any ``=`` is free text and holds nothing.

    Raises:
        ValueError: a key is given twice, or a quotation mark is not closed.
    """
    words = list(_words(line))
    if ("=", False) not in words:
        return {}
    found: dict[str, Any] = {}
    k = 0
    while k < len(words):
        key, _ = words[k]
        k += 1
        if (key, words[k - 1][1]) == ("=", False):
            raise ValueError(f"an '=' without a key in {line[:60]!r}")
        if k < len(words) and words[k] == ("=", False):
            text, quoted = words[k + 1] if k + 1 < len(words) else ("", False)
            if (text, quoted) == ("=", False):
                raise ValueError(f"{key!r} has two '='")
            value = _value(key, text)
            k += 2
        else:
            value = True
        if key in found and not (found[key] is True and value is True):
            raise ValueError(f"the key {key!r} is given twice")
        found[key] = value
    return found


def _words(line: str) -> Iterator[tuple[str, bool]]:
    """Yields keys, values and equals signs, and whether each was quoted."""
    k, after_equals = 0, False
    while k < len(line):
        char = line[k]
        if char.isspace():
            k += 1
            continue
        if char == "=":
            yield "=", False
            k, after_equals = k + 1, True
            continue
        if char in _CLOSING:
            text, k = _quoted(line, k)
            yield text, True
        else:
            text, k = _bare(line, k, value=after_equals)
            yield text, False
        after_equals = False


def _quoted(line: str, start: int) -> tuple[str, int]:
    closing, text, k = _CLOSING[line[start]], "", start + 1
    while k < len(line):
        if line[k] == "\\" and line[k + 1 : k + 2] == closing:
            text, k = text + closing, k + 2
        elif line[k] == closing:
            return text, k + 1
        else:
            text, k = text + line[k], k + 1
    raise ValueError(f"{line[start]} in the comment line is not closed: {line[start:][:40]!r}")


def _bare(line: str, start: int, *, value: bool) -> tuple[str, int]:
    """Returns a word; within a value, as in a SMILES string, ``=`` is a character."""
    k = start
    while k < len(line) and not line[k].isspace() and (value or line[k] != "="):
        if line[k] == '"' and not value:
            raise ValueError(f"a quotation mark too many in the comment line at {line[k:][:40]!r}")
        k += 1
    return line[start:k], k


def _value(key: str, text: str) -> Any:
    if text.startswith("_JSON "):
        try:
            content = json.loads(text.removeprefix("_JSON "))
            array = np.array(content)
        except ValueError:  # not JSON, or a list of lists of different lengths
            return text
        return array if array.dtype.kind in "ifb" else content
    parts = re.findall(r"[^\s,]+", text)
    if key.lower() == "uid" or not parts:
        return text
    if all(part in _BOOLEANS for part in parts):
        flags = [_BOOLEANS[part] for part in parts]
        return flags[0] if len(flags) == 1 else flags
    if not all(_REAL.fullmatch(part) for part in parts):
        return text
    whole = all(_INTEGER.fullmatch(part) and len(part) < 19 for part in parts)
    numbers = np.array([int(part) if whole else float(re.sub("[dD]", "e", part)) for part in parts])
    if key in _FORTRAN_ORDER and numbers.shape == (9,):
        return numbers.reshape((3, 3), order="F")
    return numbers[0] if len(numbers) == 1 else numbers


OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_ASE_NAMES = {"pos": "positions", "Z": "numbers", "species": "symbols", "charge": "charges"}
_PLAIN = "species:S:1:pos:R:3"
UNNAMED_COLUMNS = "unnamed_columns"
"""What three columns behind the positions without a name are called; nothing reads them unasked."""
_THREE_MORE = f":{UNNAMED_COLUMNS}:R:3"


@dataclass(frozen=True, kw_only=True, slots=True)
class XYZFrame:
    """One frame of a file, in its own units.

    Attributes:
        number: of the frame in the file, from 0.
        numbers: atomic numbers, [n_atoms].
        positions: [n_atoms, 3].
        cell: rows are lattice vectors, [3, 3]; zeros where there is none.
        pbc: [3], bool.
        info: the other keys of the comment line.
        arrays: the other columns by ASE's names, [n_atoms] or [n_atoms, n].
        nameless: columns beyond those that have a name.
        units: that the file itself states, by key or column.
    """

    number: int
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    info: dict[str, Any]
    arrays: dict[str, NDArray]
    nameless: int = 0
    units: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)


def is_xyz(path: Path) -> bool:
    """Whether a name is that of an XYZ file, compressed or not."""
    inner = path.with_suffix("") if path.suffix in OPENERS else path
    return inner.suffix.lower() in (".xyz", ".extxyz")


def read_xyz(path: Path) -> Iterator[XYZFrame]:
    """Yields the frames of a file; blank lines between them are passed over.

    Raises:
        DataError: no such file, or a frame is damaged; the message names frame and line.
    """
    try:
        with OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8-sig") as handle:
            yield from _frames(handle, path)
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except UnicodeDecodeError as error:
        raise DataError(not_utf8(path, error)) from error
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataError(f"{path} cannot be read ({error})") from error


def read_xyz_atoms(path: Path) -> list[Atoms]:
    """Returns the frames as ASE's reader would: with constraints, results in a calculator.

    Raises:
        DataError: see `read_xyz`; or the file has no frames.
    """
    found = [_atoms(frame) for frame in read_xyz(path)]
    if not found:
        raise DataError(f"{path} holds no structures")
    return found


def parse_xyz_atoms(text: str, path: Path) -> list[Atoms]:
    """Returns the frames in a part of a file; see `read_xyz_atoms`.

    Args:
        text: the part.
        path: the file, for messages.

    Raises:
        DataError: a frame is damaged.
    """
    return [_atoms(frame) for frame in _frames(io.StringIO(text), path)]


def _frames(handle: Iterable[str], path: Path) -> Iterator[XYZFrame]:
    lines = _Lines(handle)
    number, told = 0, False
    while (header := lines.next_filled()) is not None:
        start = lines.count
        try:
            n_atoms = int(header) if header.strip().isdigit() else -1
            if n_atoms < 1:
                raise _DamageError(
                    f"expected the number of atoms, found {_short(header)}"
                    + ("; is there a line too many in the frame before?" if number else "")
                )
            comment = lines.next()
            rows = [lines.next() for _ in range(n_atoms)]
            vectors = lines.vectors()
            frame = _frame(number, comment, rows, vectors)
            if not told and (said := worth_a_warning(comment or "", frame.info)):
                warnings.warn(f"{path}, frame {number}: {said}", TLPotWarning, stacklevel=3)
                told = True
            yield frame
        except _DamageError as error:
            raise DataError(
                f"{path} is not complete extended XYZ: frame {number} (from line {start}): {error}"
            ) from None
        number += 1


class _DamageError(Exception):
    """What is wrong with a frame."""


class _Lines:
    """Lines of a file, with one that can be put back."""

    def __init__(self, handle: Iterable[str]) -> None:
        self._lines = iter(handle)
        self._back: str | None = None
        self.count = 0

    def _take(self) -> str | None:
        line, self._back = self._back, None
        if line is None:
            line = next(self._lines, None)
        self.count += line is not None
        return line

    def next_filled(self) -> str | None:
        while (line := self._take()) is not None:
            if line.strip():
                return line
        return None

    def next(self) -> str | None:
        return self._take()

    def vectors(self) -> list[str]:
        """Takes the lines ``VEC1 ...`` that programs write after the atoms."""
        found = []
        while (line := self._take()) is not None:
            if not line.lstrip().startswith("VEC"):
                self._back = line
                self.count -= 1
                break
            found.append(line)
        return found


def _frame(
    number: int, comment: str | None, rows: Sequence[str | None], vectors: Sequence[str]
) -> XYZFrame:
    if comment is None:
        raise _DamageError("the file ends before the comment line")
    try:
        info = parse_comment(comment.strip())
    except ValueError as error:
        raise _DamageError(str(error)) from None
    units = units_beside(info)
    properties = info.pop("Properties", None)
    plain = _PLAIN + _THREE_MORE * (properties is None and _have_three_more(rows))
    columns = _columns(plain if properties is None else properties)
    width = sum(n for _, _, n in columns)
    tokens = []
    for k, row in enumerate(rows):
        words = [] if row is None else row.split()
        if len(words) < width or (len(words) > width and properties is not None):
            found = "the end of the file" if row is None else f"{len(words)} columns"
            found = "a blank line" if row is not None and not words else found
            raise _DamageError(f"atom {k}: expected {width} columns, found {found}")
        tokens.append(words[:width])
    widest = max((len(row.split()) for row in rows if row is not None), default=width)
    arrays: dict[str, NDArray] = {}
    start = 0
    for name, kind, n in columns:
        values = [words[start : start + n] for words in tokens]
        array = _convert(name, kind, values)
        arrays[_ASE_NAMES.get(name, name)] = array[:, 0] if n == 1 else array
        start += n
    positions = arrays.pop("positions", None)
    if positions is None or positions.shape != (len(rows), 3):
        raise _DamageError("Properties has no pos:R:3")
    cell, pbc = _cell(info, vectors)
    numbers = _numbers(arrays)
    length = 1.0
    if not info and properties is None:
        try:
            said = read_program_comment(comment.strip(), int(numbers.sum()))
        except ValueError as error:
            raise _DamageError(str(error)) from None
        info, units, length = said.info, said.units, said.length
        if said.cell is not None:
            cell, pbc = said.cell, np.ones(3, dtype=bool)
    return XYZFrame(
        number=number,
        numbers=numbers,
        positions=positions.astype(np.float64) * length,
        cell=cell,
        pbc=pbc,
        info=info,
        arrays=arrays,
        nameless=widest - width,
        units=units,
    )


def _have_three_more(rows: Sequence[str | None]) -> bool:
    """Whether three numbers without a name stand behind each position, as forces may."""
    tails = [(row or "").split()[4:] for row in rows]
    return all(len(tail) == 3 and all(map(_REAL.fullmatch, tail)) for tail in tails)


def _columns(properties: object) -> list[tuple[str, str, int]]:
    fields = str(properties).split(":")
    columns = []
    for name, kind, n in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        if kind not in ("R", "I", "S", "L") or not n.isdigit() or int(n) < 1:
            raise _DamageError(f"Properties has {name}:{kind}:{n}, expected NAME:R|I|S|L:NUMBER")
        columns.append((name, kind, int(n)))
    names = [_ASE_NAMES.get(name, name) for name, _, _ in columns]
    if len(fields) % 3 or len(set(names)) < len(names):
        raise _DamageError(f"Properties is {_short(str(properties))}, with a name twice or cut off")
    return columns


def _convert(name: str, kind: str, values: Sequence[Sequence[str]]) -> NDArray:
    try:
        if kind == "S":
            return np.array(values, dtype=object)
        if any("_" in word for words in values for word in words):  # Python reads 1_0 as 10
            raise ValueError("an underscore")
        if kind == "L":
            known = {"T": True, "F": False, "True": True, "False": False}
            return np.array([[known[word] for word in words] for words in values])
        if kind == "I":
            return np.array([[int(word) for word in words] for words in values], dtype=np.int64)
        return _reals(values)
    except (ValueError, KeyError, OverflowError):
        what = {"L": "T or F", "I": "whole numbers", "R": "numbers"}[kind]
        form = {"L": _FLAG, "I": _INTEGER, "R": _REAL}[kind]
        atom, word = next(
            ((k, w) for k, words in enumerate(values) for w in words if not form.fullmatch(w)),
            (0, values[0][0]),
        )
        raise _DamageError(
            f"atom {atom}: column {name!r} holds {_short(word)}, which is not {what}{_why(word)}"
        ) from None


def _why(word: str) -> str:
    """Returns what made a number unreadable, if it is one of the usual mistakes."""
    if "*" in word and not word.strip("*"):
        return ": the program that wrote it had too few places; compute the frame again"
    if re.fullmatch(r"[+-]?\d+,\d+", word):
        return ": write a point for the decimal comma"
    if "*^" in word:
        return ": write e for *^, sed 's/\\*^/e/g'"
    return ""


def _reals(values: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    try:
        return np.array([[float(word) for word in words] for words in values])
    except ValueError:  # Fortran writes 1.0D+00
        return np.array([[float(re.sub("[dD]", "e", w)) for w in words] for words in values])


def _numbers(arrays: dict[str, NDArray]) -> NDArray[np.int64]:
    numbers, symbols = arrays.pop("numbers", None), arrays.pop("symbols", None)
    if numbers is None and symbols is None:
        raise _DamageError("Properties has neither species:S:1 nor Z:I:1")
    if numbers is not None and numbers.dtype.kind == "f" and (numbers % 1 == 0).all():
        numbers = numbers.astype(np.int64)
    named = None if symbols is None else np.array([_element(str(s)) for s in symbols.flat])
    if numbers is None:
        assert named is not None
        return named
    in_table = numbers.dtype.kind == "i" and numbers.ndim == 1
    if not in_table or not ((numbers > 0) & (numbers < len(chemical_symbols))).all():
        raise _DamageError("column 'Z' holds what is no atomic number")
    if named is not None and not np.array_equal(named, numbers):
        raise _DamageError("species and Z name different elements")
    return numbers.astype(np.int64)


def _element(text: str) -> int:
    number = int(text) if text.isdigit() else atomic_numbers.get(text.capitalize(), 0)
    if not 0 < number < len(chemical_symbols):
        isotope = ": write H, and a column masses:R:1" * (text in ("D", "T"))
        raise _DamageError(f"{_short(text)} is not an element{isotope}")
    return number


def _cell(
    info: dict[str, Any], vectors: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    lattice, pbc = _pop(info, "lattice"), _pop(info, "pbc")
    cell, periodic = np.zeros((3, 3)), np.zeros(3, dtype=bool)
    if lattice is not None:
        values = np.asarray(lattice)
        if values.dtype.kind not in "if" or values.size != 9:
            raise _DamageError(f"Lattice is {_short(str(lattice))}, expected nine numbers")
        cell, periodic = values.astype(np.float64).reshape(3, 3), np.ones(3, dtype=bool)
    for k, line in enumerate(vectors):
        words = line.split()
        if lattice is not None or k > 2 or words[0] != f"VEC{k + 1}" or len(words) != 4:
            raise _DamageError(f"{_short(line)} is not the vector VEC{k + 1} of a cell")
        cell[k], periodic[k] = _convert("VEC", "R", [words[1:]])[0], True
    if pbc is not None:
        flags = np.atleast_1d(pbc)
        if flags.size not in (1, 3) or not (
            flags.dtype.kind == "b" or (flags.dtype.kind == "i" and np.isin(flags, (0, 1)).all())
        ):
            raise _DamageError(f"pbc is {_short(str(pbc))}, expected three of T and F")
        periodic = np.broadcast_to(flags.astype(bool).reshape(-1), (3,)).copy()
    return cell, periodic


def _pop(info: dict[str, Any], name: str) -> Any:
    """Takes out what is held under a name, in upper or lower case."""
    spelt = [key for key in info if key.lower() == name]
    if len(spelt) > 1:
        raise _DamageError(f"{' and '.join(spelt)} are one key, given twice")
    return info.pop(spelt[0]) if spelt else None


def _short(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _atoms(frame: XYZFrame) -> Atoms:
    info, arrays = dict(frame.info), dict(frame.arrays)
    results = {key: arrays.pop(key) for key in list(arrays) if key in all_properties}
    results |= {key: info.pop(key) for key in list(info) if key in all_properties}
    moves = arrays.pop("move_mask", None)
    atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc, info=info)
    for key, array in arrays.items():
        atoms.set_array(key, array)
    if moves is not None:
        from ase.constraints import FixAtoms, FixCartesian

        fixed = ~moves.astype(bool)
        atoms.set_constraint(
            FixAtoms(mask=fixed)
            if fixed.ndim == 1
            else [FixCartesian(k, mask=fixed[k]) for k in range(len(atoms))]
        )
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
