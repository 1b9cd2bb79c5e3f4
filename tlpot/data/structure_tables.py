"""Tables of structures as pymatgen and JARVIS write them, and databases of ASE and SchNetPack."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from tlpot.data.dataset import Problem
from tlpot.data.xyz_file import XYZFrame
from tlpot.errors import DataError
from tlpot.units import length_factor

ID = "id"
"""The column that names each structure."""

_JARVIS = {"lattice_mat", "coords", "elements", "cartesian"}
"""What JARVIS writes of a structure."""
_JARVIS_NONE = "na"
"""And where there is no value."""

_OF_ENTRIES = ("@module", "@class", "@version", "composition", "parameters", "data", "entry_id")
"""What entries of pymatgen say beside structure and energy, and its data have otherwise."""

_NAMES = (ID, "material_id", "mat_id", "entry_id", "mp_id", "jid")
"""Columns that may name the rows of a table without row names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureTable:
    """Structures with the values of a table.

    Attributes:
        frames: the structures; `info` has the id and those of the values that there are.
        texts: columns that hold no numbers, and the id.
    """

    frames: Sequence[XYZFrame]
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    """Names of rows and of columns, and what is in them."""

    index: Sequence[object]
    columns: Sequence[object]
    data: Sequence[Sequence[Any]]


def structure_table(content: Any, where: str) -> StructureTable | None:
    """Reads structures with values beside them; None where it is no such table.

    Args:
        content: what JSON holds: a table of pandas (orient split, columns, index or records), a
            list of structures, or one, entries of pymatgen, or frames by material as in MPtrj.
        where: the file, for messages.

    Raises:
        DataError: values and structures that do not belong together.
    """
    table = _table(content)
    return None if table is None else _read(table, where)


def _table(content: Any) -> _Table | None:
    if isinstance(content, dict) and {"index", "columns", "data"} <= content.keys():
        return _Table(index=content["index"], columns=content["columns"], data=content["data"])
    if isinstance(content, dict) and isinstance(content.get("entries"), list):
        content = content["entries"]
    if _is_structure(content):
        content = [content]
    if isinstance(content, list):
        if content and all(_is_structure(each) for each in content):
            content = [{"structure": each} for each in content]
        if not content or not all(isinstance(row, dict) for row in content):
            return None
        content = [_flat_entry(row) for row in content]
        return _of_records(content, _row_names(content))
    if not isinstance(content, dict) or not content:
        return None
    inner = list(content.values())
    if not all(isinstance(each, dict) for each in inner):
        return None
    if all(map(_is_structure, inner)):
        return _of_records([{"structure": each} for each in inner], list(content))
    columns = [name for name, cells in content.items() if any(map(_is_structure, cells.values()))]
    if len(columns) == len(content) > 1:  # each has a structure, so these are the rows
        return _of_records(inner, list(content))
    if not columns:
        return _of_runs(content)
    rows = list(content[columns[0]])
    return _of_records(
        [{name: cells.get(row) for name, cells in content.items()} for row in rows], rows
    )


def _flat_entry(row: dict[str, Any]) -> dict[str, Any]:
    """Returns an entry of pymatgen (``ComputedStructureEntry``) with its data beside its energy."""
    data = row.get("data")
    if "structure" not in row or "energy" not in row or not isinstance(data, dict):
        return row
    own = {key: value for key, value in row.items() if key not in _OF_ENTRIES}
    return own | {key: value for key, value in data.items() if key not in own}


def _of_runs(content: Mapping[str, Mapping[str, Any]]) -> _Table | None:
    """Reads frames by material and number, as MPtrj has them."""
    rows = {(name, key): row for name, frames in content.items() for key, row in frames.items()}
    if not rows or not all(
        isinstance(row, dict) and any(map(_is_structure, row.values())) for row in rows.values()
    ):
        return None
    unique = len({key for _, key in rows}) == len(rows)
    names = [key if unique else f"{name}/{key}" for name, key in rows]
    return _of_records(list(rows.values()), names)


def _row_names(records: Sequence[Mapping[str, Any]]) -> Sequence[object]:
    for name in _NAMES:
        if all(isinstance(row.get(name), str | int) for row in records):
            return [row[name] for row in records]
    return range(len(records))


def _of_records(records: Sequence[Mapping[str, Any]], names: Sequence[object]) -> _Table:
    columns = list(dict.fromkeys(key for row in records for key in row if key != ID))
    return _Table(
        index=names, columns=columns, data=[[row.get(key) for key in columns] for row in records]
    )


def _read(table: _Table, path: str) -> StructureTable:
    index, columns, data = table.index, table.columns, table.data
    names = [str(name) for name in columns]
    if len(index) != len(data) or any(len(row) != len(names) for row in data):
        raise DataError(f"{path}: index, columns and data are not of one length")
    ids = [str(key) for key in index]
    twice = [key for key, n in Counter(ids).items() if n > 1]
    if twice:
        raise DataError(f"{path}: the id {twice[0]!r} is given {Counter(ids)[twice[0]]} times")
    where = [k for k, cell in enumerate(data[0] if data else ()) if _is_structure(cell)]
    if len(where) != 1:
        raise DataError(
            f"{path}: {'no column' if not where else 'more than one column'} of "
            f"{', '.join(names)} holds structures as pymatgen writes them (lattice and sites) or "
            "JARVIS (lattice_mat, elements and coords)"
        )
    values = [k for k in range(len(names)) if k not in where]
    if "sites" not in data[0][where[0]]:
        data = [[None if cell == _JARVIS_NONE else cell for cell in row] for row in data]
    arrays = {k for k in values if any(_numbers(row[k]) is not None for row in data)}
    texts = [
        k
        for k in values
        if k not in arrays and not any(isinstance(row[k], int | float) for row in data)
    ]
    frames = []
    for number, (key, row) in enumerate(zip(ids, data, strict=True)):
        info: dict[str, Any] = {ID: key}
        frame = _structure(row[where[0]], f"{path}: row {key!r}", number, info)
        for k in values:
            cell = row[k]
            if cell is None:
                continue
            if k in arrays:
                array = _numbers(cell)
                if array is None:
                    raise DataError(
                        f"{path}: row {key!r}: {names[k]!r} is no array of 3 numbers for each atom "
                        "or of 3 x 3 or 6, as it is in other rows"
                    )
                of_atoms = array.shape == (len(frame), 3)
                (frame.arrays if of_atoms else info)[names[k]] = array
                continue
            if k not in texts and not isinstance(cell, int | float):
                raise DataError(
                    f"{path}: row {key!r}: {names[k]!r} is {cell!r}, expected a number, or null "
                    "where there is no value"
                )
            info[names[k]] = cell if isinstance(cell, str | int | float) else json.dumps(cell)
        frames.append(replace(frame, info={**frame.info, **info}))
    return StructureTable(frames=frames, texts=(ID, *(names[k] for k in texts)))


def _numbers(cell: object) -> NDArray[np.float64] | None:
    """Returns an array that may be forces or a stress; None for anything else."""
    if isinstance(cell, dict) and cell.get("@class") == "array":
        cell = cell.get("data")
    if not isinstance(cell, list) or not cell:
        return None
    try:
        array = np.asarray(cell)
    except ValueError:
        return None
    fits = array.shape == (6,) or (array.ndim == 2 and array.shape[1] == 3)
    return array.astype(np.float64) if fits and array.dtype.kind in "iuf" else None


def _is_structure(cell: object) -> bool:
    return isinstance(cell, dict) and ("sites" in cell or cell.keys() >= _JARVIS)


def _structure(cell: Any, where: str, number: int, info: dict[str, Any]) -> XYZFrame:
    """Reads a structure or molecule as pymatgen or JARVIS writes it."""
    try:
        if "sites" not in cell:
            kind = "xyz" if cell["cartesian"] else "abc"
            cell = {
                "lattice": {"matrix": cell["lattice_mat"]},
                "sites": [
                    {"species": [{"element": symbol}], kind: place}
                    for symbol, place in zip(cell["elements"], cell["coords"], strict=True)
                ],
            }
        lattice = cell.get("lattice") or {}
        matrix = np.array(lattice.get("matrix", np.zeros((3, 3))), dtype=np.float64).reshape(3, 3)
        periodic = lattice.get("pbc", [True] * 3) if lattice else [False] * 3
        elements = [
            _element(site["species"], f"{where}: site {k}") for k, site in enumerate(cell["sites"])
        ]
        positions = np.array([_position(site, matrix) for site in cell["sites"]])
        forces = _numbers([(site.get("properties") or {}).get("forces") for site in cell["sites"]])
        charge = cell.get("charge") or 0
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where} is not a structure of pymatgen or JARVIS ({error!r})") from error
    return XYZFrame(
        number=number,
        numbers=np.array(elements, dtype=np.int64),
        positions=positions.reshape(-1, 3),
        cell=matrix,
        pbc=np.array(periodic, dtype=bool),
        info={"charge": charge, **info} if charge else info,
        arrays={} if forces is None else {"forces": forces},
    )


def _element(species: Sequence[Mapping[str, Any]], where: str) -> int:
    if len(species) != 1 or species[0].get("occu", 1) != 1:
        found = " + ".join(f"{each['element']} {each.get('occu', 1):g}" for each in species)
        raise DataError(
            f"{where} is occupied by {found or 'nothing'}; structures with partial occupancies are "
            "not read, take an ordered one"
        )
    symbol = str(species[0]["element"])
    if not atomic_numbers.get(symbol):
        raise DataError(f"{where}: {symbol!r} is not an element symbol")
    return int(atomic_numbers[symbol])


def _position(site: Mapping[str, Any], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    if "xyz" in site:
        return np.asarray(site["xyz"], dtype=np.float64)
    return np.asarray(np.asarray(site["abc"], dtype=np.float64) @ matrix)


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
