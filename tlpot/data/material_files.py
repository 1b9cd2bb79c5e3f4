"""Structures with values: files with a table, matbench JSON, databases and trajectories of ASE.

Every structure comes as a frame whose keys are the columns of the table, as an extended XYZ file
would have them, beside its `ID`.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from tlpot.data.dataset import Problem
from tlpot.data.xyz_file import XYZFrame, read_xyz
from tlpot.errors import DataError
from tlpot.numbers import counted

ID = "id"
"""The column that names each structure."""

TABLE = "id_prop.csv"
"""Beside structures: id and values by line, as CGCNN has it; with a header or without."""

ENDINGS = (".cif", ".vasp", ".poscar", ".xyz", ".extxyz")
"""Of the files of one structure each in a folder; the id is the name without."""

VALUE = "value"
"""The column of a table without a header and with one value."""

_WHOLE = re.compile(r"[+-]?\d+")
_DATABASE = {"ids", "nextid"}
_SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class MaterialFrames:
    """Structures with the values of a table.

    Attributes:
        frames: the structures; `info` has the id and those of the values that there are.
        texts: columns that hold no numbers, and the id.
        problems: what was found in reading.
        named: the ids are names that the user gave, of files or rows, and no running numbers.
    """

    frames: Sequence[XYZFrame]
    texts: tuple[str, ...]
    problems: Sequence[Problem] = ()
    named: bool = True


def is_material_file(path: Path) -> bool:
    """Whether a path may be one of these layouts: a folder, ``.json``, ``.json.gz`` or ``.db``."""
    return path.is_dir() or path.suffix == ".db" or path.name.endswith((".json", ".json.gz"))


def read_materials(path: Path, *, table: bool = True) -> MaterialFrames:
    """Reads a folder of structures, a matbench JSON file or a database of ASE.

    Args:
        path: the folder or file.
        table: read the values beside the structures; without, all are read as they are.

    Raises:
        DataError: not one of these, damaged, or values and structures that do not belong together.
    """
    if path.is_dir():
        return _folder(path) if table else _frames(path, _structure_files(path), {}, ())
    if path.suffix == ".db":
        if not path.is_file():
            raise DataError(f"no such file: {path}")
        return _ase_database(path, "db")
    content = _json(path)
    if isinstance(content, dict) and {"index", "columns", "data"} <= content.keys():
        return _split_frame(path, content)
    if isinstance(content, dict) and content.keys() >= _DATABASE:
        return _ase_database(path, "json")
    raise DataError(
        f"{path} has none of the layouts of JSON that are read: a table as pandas writes it with "
        "orient='split' (index, columns, data), as matbench has it, or a database of ASE"
    )


def _json(path: Path) -> Any:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as handle:
            return json.load(handle)
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is not complete JSON ({error})") from error


def material_atoms(path: Path) -> list[Atoms] | None:
    """Returns the structures of a folder or a matbench file, with ids and values in `info`.

    Of what ASE reads itself, with all that it holds, it is None.

    Raises:
        DataError: see `read_materials`.
    """
    if not path.is_dir() and not path.name.endswith((".json", ".json.gz")):
        return None
    content = {} if path.is_dir() else _json(path)
    if isinstance(content, dict) and content.keys() >= _DATABASE:
        return None
    found = read_materials(path, table=False)
    return [
        Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc, info=frame.info)
        for frame in found.frames
    ]


def readable_structures(folder: Path) -> tuple[dict[str, Atoms], dict[str, str]]:
    """Returns the structures of a folder by id, and why the others cannot be read.

    Raises:
        DataError: there are none, or none can be read.
    """
    found, unread = {}, {}
    for name, file in _structure_files(folder).items():
        try:
            frame = _read_one(file, 0, {ID: name})
        except DataError as error:
            unread[name] = str(error)
            continue
        charged = {key: frame.info[key] for key in ("charge", "spin") if key in frame.info}
        found[name] = Atoms(
            frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc, info=charged
        )
    if not found:
        raise DataError(f"{folder}: no structure can be read: {next(iter(unread.values()))}")
    return found, unread


def _structure_files(folder: Path) -> dict[str, Path]:
    """Returns the files of structures in a folder by id."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in ENDINGS:
            other = found.setdefault(file.stem, file)
            if other is not file:
                raise DataError(f"{folder}: {other.name} and {file.name} have one id; keep one")
    if not found:
        raise DataError(
            f"{folder} is a folder without structures ({', '.join(ENDINGS)}); of other formats, "
            "list the files in it"
        )
    return found


def _id(cell: str) -> str:
    stem, dot, ending = cell.rpartition(".")
    return stem if stem and (dot + ending).lower() in ENDINGS else cell


def _folder(folder: Path) -> MaterialFrames:
    files = _structure_files(folder)
    rows, texts = _read_table(folder / TABLE, files)
    absent = [name for name in rows if name not in files]
    if absent:
        raise DataError(
            f"{folder}: {counted(len(absent), 'row')} of {TABLE} without a structure: "
            f"{_some(absent)} ({', '.join(ENDINGS)}); add the files, or take out the rows"
        )
    others = {name: file for name, file in files.items() if name not in rows}
    problems = []
    if others:
        what = (
            f"{counted(len(others), 'structure')} without a row in {TABLE}, read without labels: "
            f"{_some(file.name for file in others.values())}"
        )
        problems.append(Problem(severity="note", what=what))
    return _frames(
        folder, {**{name: files[name] for name in rows}, **others}, rows, texts, problems
    )


def _frames(
    folder: Path,
    files: Mapping[str, Path],
    rows: Mapping[str, Mapping[str, Any]],
    texts: tuple[str, ...],
    problems: Sequence[Problem] = (),
) -> MaterialFrames:
    frames = [
        _read_one(file, k, {ID: name, **rows.get(name, {})})
        for k, (name, file) in enumerate(files.items())
    ]
    return MaterialFrames(frames=frames, texts=(ID, *texts), problems=problems)


def _some(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:_SHOWN]) + (", ..." if len(every) > _SHOWN else "")


def _read_table(
    path: Path, ids: Container[str]
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Returns the values of each id, and which columns are text; `ids` are those of structures."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            lines = [(k, row) for k, row in enumerate(csv.reader(handle), 1) if any(row)]
    except FileNotFoundError:
        raise DataError(
            f"{path.parent} has no {path.name} with a line 'id,value' for each structure"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    cells = [(k, [cell.strip() for cell in row]) for k, row in lines]
    width = len(cells[0][1]) if cells else 0
    if width < 2:
        raise DataError(f"{path}: expected an id and a value in each line")
    first = cells[0][1][1:]
    header = not any(cell == "" or _is_number(cell) for cell in first)
    if header and _id(cells[0][1][0]) in ids:
        raise DataError(
            f"{path}: line 1 is that of {cells[0][1][0]}, and {first[0]!r} is no number; a header "
            "names the columns"
        )
    if not header and width > 2:
        raise DataError(f"{path} has {width - 1} values in a line and no header that names them")
    names = first if header else [VALUE]
    cells = cells[header:]
    twice = [name for name, n in Counter([ID, *names]).items() if n > 1]
    if twice:
        raise DataError(f"{path}: two columns are called {twice[0]!r}")
    for k, row in cells:
        if len(row) != width:
            raise DataError(f"{path}: line {k} has {len(row)} columns, expected {width}")
    texts = tuple(
        name
        for column, name in enumerate(names, 1)
        if header and not any(_is_number(row[column]) for _, row in cells)
    )
    found: dict[str, dict[str, Any]] = {}
    for k, row in cells:
        key = _id(row[0])
        if key in found:
            raise DataError(f"{path}: line {k}: the id {key!r} is given twice")
        found[key] = {}
        for name, cell in zip(names, row[1:], strict=True):
            if cell and name in texts:
                found[key][name] = cell
            elif cell and not _is_number(cell):
                raise DataError(
                    f"{path}: line {k}: {name!r} of {key} is {cell!r}, expected a number, or "
                    "nothing where there is no value"
                )
            elif cell:
                found[key][name] = int(cell) if _WHOLE.fullmatch(cell) else float(cell)
    return found, texts


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_one(path: Path, number: int, info: dict[str, Any]) -> XYZFrame:
    """Reads the one structure of a file.

    Args:
        path: the file.
        number: of the frame.
        info: what is known of it; what the file itself says comes beside it.

    Raises:
        DataError: damaged, or not of one structure, or the file has another value of a column.
    """
    ending = path.suffix.lower()
    if ending == ".cif":
        return read_cif(path, number, info)
    if ending in (".vasp", ".poscar"):
        return _read_poscar(path, number, info)
    frames = list(read_xyz(path))
    if len(frames) != 1:
        raise DataError(f"{path} has {counted(len(frames), 'structure')}, expected one")
    own = {key: value for key, value in frames[0].info.items() if key != ID}
    for key in own.keys() & info.keys():
        if not np.array_equal(own[key], info[key]):
            raise DataError(
                f"{path} says {key}={own[key]}, and the table {info[key]}; keep one of them"
            )
    return replace(frames[0], number=number, info={**own, **info})


def _crystal(atoms: Atoms, number: int, info: dict[str, Any]) -> XYZFrame:
    """Returns a structure that is periodic in all directions as a frame, with no more than that."""
    return XYZFrame(
        number=number,
        numbers=np.asarray(atoms.numbers, dtype=np.int64),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell.array, dtype=np.float64),
        pbc=np.ones(3, dtype=bool),
        info=info,
        arrays={},
    )


def _read_poscar(path: Path, number: int, info: dict[str, Any]) -> XYZFrame:
    from ase.io.vasp import read_vasp  # takes its time to load

    try:
        atoms = read_vasp(str(path))
    except Exception as error:  # the reader raises a dozen kinds for damage
        raise DataError(f"{path} is not a POSCAR ({type(error).__name__}: {error})") from error
    return _crystal(atoms, number, info)


def read_cif(path: Path, number: int, info: dict[str, Any]) -> XYZFrame:
    """Reads the one structure of a CIF, with the symmetry applied.

    Args:
        path: the file.
        number: of the frame.
        info: what is known of it.

    Raises:
        DataError: not a CIF, not of one structure, or a site that is occupied in part.
    """
    from ase.io.cif import parse_cif  # takes its time to load

    try:
        blocks = [block for block in parse_cif(str(path)) if block.has_structure()]
        if len(blocks) != 1:
            raise ValueError(f"it has {len(blocks)} blocks with a structure")
        (block,) = blocks
        occupied = block.get("_atom_site_occupancy") or []
        partly = [k for k, x in enumerate(occupied) if isinstance(x, int | float) and x != 1]
        if not partly:
            atoms = block.get_atoms(store_tags=False)
    except Exception as error:  # the reader raises a dozen kinds for damage
        reason = str(error) or "there is no block 'data_...' that can be read"
        raise DataError(f"{path} is not a CIF of one structure ({reason})") from error
    if partly:
        labels = block.get("_atom_site_label") or occupied
        raise DataError(
            f"{path}: the site {labels[partly[0]]} is occupied by {occupied[partly[0]]:g}; "
            "structures with partial occupancies are not read, take an ordered one"
        )
    return _crystal(atoms, number, info)


def _split_frame(path: Path, content: Mapping[str, Any]) -> MaterialFrames:
    """Reads a table of pandas: row names, column names, and rows of values and a structure."""
    index, columns, data = (content[key] for key in ("index", "columns", "data"))
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
            f"{', '.join(names)} holds structures as pymatgen writes them (lattice and sites)"
        )
    values = [k for k in range(len(names)) if k not in where]
    texts = [k for k in values if not any(isinstance(row[k], int | float) for row in data)]
    frames = []
    for number, (key, row) in enumerate(zip(ids, data, strict=True)):
        info: dict[str, Any] = {ID: key}
        for k in values:
            cell = row[k]
            if cell is None:
                continue
            if k not in texts and not isinstance(cell, int | float):
                raise DataError(
                    f"{path}: row {key!r}: {names[k]!r} is {cell!r}, expected a number, or null "
                    "where there is no value"
                )
            info[names[k]] = cell if isinstance(cell, str | int | float) else json.dumps(cell)
        frames.append(_structure(row[where[0]], f"{path}: row {key!r}", number, info))
    return MaterialFrames(frames=frames, texts=(ID, *(names[k] for k in texts)))


def _is_structure(cell: object) -> bool:
    return isinstance(cell, dict) and "sites" in cell


def _structure(cell: Any, where: str, number: int, info: dict[str, Any]) -> XYZFrame:
    """Reads a structure or molecule as pymatgen writes it."""
    try:
        lattice = cell.get("lattice") or {}
        matrix = np.array(lattice.get("matrix", np.zeros((3, 3))), dtype=np.float64).reshape(3, 3)
        periodic = lattice.get("pbc", [True] * 3) if lattice else [False] * 3
        elements = [
            _element(site["species"], f"{where}: site {k}") for k, site in enumerate(cell["sites"])
        ]
        positions = np.array([_position(site, matrix) for site in cell["sites"]])
        charge = cell.get("charge") or 0
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where} is not a structure of pymatgen ({error!r})") from error
    return XYZFrame(
        number=number,
        numbers=np.array(elements, dtype=np.int64),
        positions=positions.reshape(-1, 3),
        cell=matrix,
        pbc=np.array(periodic, dtype=bool),
        info={"charge": charge, **info} if charge else info,
        arrays={},
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


def read_trajectory(path: Path) -> list[Atoms]:
    """Returns the structures of a trajectory of ASE (``.traj``), with what was computed.

    Raises:
        DataError: no such file, or damaged.
    """
    from ase.io.trajectory import Trajectory

    if not path.is_file():
        raise DataError(f"no such file: {path}")
    try:
        with Trajectory(path) as frames:
            return [cast(Atoms, atoms) for atoms in frames]
    except Exception as error:  # the reader raises a dozen kinds for damage
        raise DataError(
            f"{path} is not a trajectory of ASE ({type(error).__name__}: {error})"
        ) from error


def _ase_database(path: Path, kind: str) -> MaterialFrames:
    """Reads rows of structures with key-value pairs, energies, forces and stresses."""
    from ase.db import connect  # takes its time to load

    frames, texts = [], {ID: None}
    try:
        for number, row in enumerate(connect(str(path), type=kind).select()):
            info: dict[str, Any] = {ID: str(row.id), **row.key_value_pairs}
            info |= {key: np.asarray(row[key]) for key in ("energy", "stress") if key in row}
            arrays = ("forces", "initial_charges", "initial_magmoms")
            texts |= dict.fromkeys(k for k, v in row.key_value_pairs.items() if isinstance(v, str))
            frames.append(
                XYZFrame(
                    number=number,
                    numbers=np.asarray(row.numbers, dtype=np.int64),
                    positions=np.array(row.positions, dtype=np.float64),
                    cell=np.array(row.cell, dtype=np.float64).reshape(3, 3),
                    pbc=np.asarray(row.pbc, dtype=bool),
                    info=info,
                    arrays={key: np.asarray(row[key]) for key in arrays if key in row},
                )
            )
    except (sqlite3.Error, KeyError, ValueError, TypeError, OSError) as error:
        raise DataError(f"{path} is not a database of ASE ({error})") from error
    return MaterialFrames(frames=frames, texts=tuple(texts), named=False)
