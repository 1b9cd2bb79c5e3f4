"""Databases of ASE, and those of SchNetPack, whose labels are in the data of their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlpot.data.dataset import Problem
from tlpot.data.structure_tables import ID
from tlpot.data.xyz_file import XYZFrame
from tlpot.errors import DataError
from tlpot.units import length_factor

_UNITS = "_property_unit_dict"
"""What SchNetPack says of the units of the data in the rows."""
_LENGTH = "_distance_unit"
"""And of positions and cells."""
_REFERENCES = "atomrefs"
_WITHOUT_UNIT = ("arb. unit", "", "1", "none")


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """What a database holds.

    Attributes:
        frames: the rows, positions in Å; labels as they are, with the units that are stated.
        texts: keys that hold text.
        problems: what was found in reading.
    """

    frames: list[XYZFrame]
    texts: tuple[str, ...]
    problems: tuple[Problem, ...]


def read_database(path: Path, kind: str) -> Database:
    """Reads rows of structures with key-value pairs, data, energies, forces and stresses.

    Args:
        path: the file.
        kind: ``db`` or ``json``.

    Raises:
        DataError: not a database, or positions in an unknown unit.
    """
    from ase.db import connect  # takes its time to load

    if kind == "db":
        _check_is_of_ase(path)
    frames, texts = [], {ID: None}
    data: set[str] = set()
    try:
        database = connect(str(path), type=kind)
        said = database.metadata
        length = _length(path, said)
        units = {
            str(key): str(unit)
            for key, unit in (said.get(_UNITS) or {}).items()
            if unit is not None and str(unit).lower() not in _WITHOUT_UNIT
        }
        for number, row in enumerate(database.select()):
            info: dict[str, Any] = {ID: str(row.id), **row.key_value_pairs}
            info |= {key: np.asarray(row[key]) for key in ("energy", "stress") if key in row}
            names = ("forces", "initial_charges", "initial_magmoms")
            arrays = {key: np.asarray(row[key]) for key in names if key in row}
            texts |= dict.fromkeys(k for k, v in row.key_value_pairs.items() if isinstance(v, str))
            of_atoms, of_all = _data(row.data, len(row.numbers))
            data |= of_atoms.keys() | of_all.keys()
            for place, others in ((arrays, of_atoms), (info, of_all)):
                for key, value in others.items():
                    if key in place and not np.array_equal(place[key], value):
                        raise DataError(
                            f"{path}: row {row.id} has {key!r} in its data and another one beside "
                            "it; remove one of them"
                        )
                    place[key] = value
            frames.append(
                XYZFrame(
                    number=number,
                    numbers=np.asarray(row.numbers, dtype=np.int64),
                    positions=np.array(row.positions, dtype=np.float64) * length,
                    cell=np.array(row.cell, dtype=np.float64).reshape(3, 3) * length,
                    pbc=np.asarray(row.pbc, dtype=bool),
                    info=info,
                    arrays=arrays,
                    units=units,
                )
            )
    except DataError:
        raise
    except (sqlite3.Error, KeyError, ValueError, TypeError, OSError) as error:
        raise DataError(f"{path} is not a database of ASE ({error})") from error
    problems = []
    if any(said.get(_REFERENCES) or {}):
        what = f"{_REFERENCES!r} of the database are not read; energies are those of the rows"
        problems.append(Problem(severity="note", what=what))
    if data and not units:
        what = (
            f"{', '.join(map(repr, sorted(data)))} are in the data of the rows, and nothing says "
            "in which units: they are read in eV and Å unless they are named with others "
            "(--keys 'energy=KEY, UNIT')"
        )
        problems.append(Problem(severity="warning", what=what))
    return Database(frames=frames, texts=tuple(texts), problems=tuple(problems))


def states_length(path: Path) -> bool:
    """Whether a database names the unit of its positions, which ASE would pass over.

    Raises:
        DataError: not a database of ASE.
    """
    from ase.db import connect

    _check_is_of_ase(path)
    try:
        return _LENGTH in connect(str(path), type="db").metadata
    except (sqlite3.Error, KeyError, ValueError, TypeError, OSError):
        return False  # the reader says what is wrong


def _check_is_of_ase(path: Path) -> None:
    """Checks that ASE has made a database: into any other it would write its tables on opening.

    Raises:
        DataError: it is none, or another program's.
    """
    try:
        handle = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise DataError(f"{path} is not a database of ASE ({error})") from error
    try:
        rows = handle.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error as error:
        raise DataError(f"{path} is not a database of ASE ({error})") from error
    finally:
        handle.close()
    names = sorted(str(name) for (name,) in rows)
    if "systems" not in names:
        raise DataError(
            f"{path} is a database of SQLite and not one of ASE: it has "
            f"{', '.join(map(repr, names)) or 'no tables'}, and no 'systems'; read it with the "
            "program that wrote it and write .xyz or .traj with ASE"
        )


def _length(path: Path, said: Mapping[str, Any]) -> float:
    unit = said.get(_LENGTH) or "angstrom"
    try:
        return length_factor(str(unit))
    except DataError as error:
        raise DataError(f"{path}: {_LENGTH} in its metadata: {error}") from None


def _data(data: Mapping[str, Any], n_atoms: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the arrays of numbers in the data of a row: those of the atoms, and the others."""
    of_atoms, of_all = {}, {}
    for key, value in data.items():
        try:
            array = np.asarray(value)
        except ValueError:  # lists of several lengths
            continue
        if array.dtype.kind not in "iuf":
            continue
        if array.ndim > 0 and array.shape[0] == n_atoms and array.size != 1 and array.ndim < 3:
            of_atoms[str(key)] = array
        else:
            of_all[str(key)] = array.reshape(()) if array.size == 1 else np.squeeze(array)
    return of_atoms, of_all
