"""Structures with values: files with a table, JSON, databases and trajectories, DeePMD folders.

Every structure comes as a frame whose keys are the columns of the table, as an extended XYZ file
would have them, beside its `ID`.
"""

from __future__ import annotations

import csv
import json
import lzma
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms

from tlpot.data.cif_files import cif_structures
from tlpot.data.dataset import Problem
from tlpot.data.deepmd_folders import TYPES, deepmd_systems, read_deepmd
from tlpot.data.structure_tables import ID, read_database, states_length, structure_table
from tlpot.data.xyz_file import OPENERS, XYZFrame, read_xyz
from tlpot.errors import DataError
from tlpot.files import check_text, not_utf8
from tlpot.numbers import counted

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
    """Whether a path may be one of these layouts: a folder, JSON (``.json.bz2``) or ``.db``."""
    return path.is_dir() or path.suffix.lower() == ".db" or _is_json(path)


def _is_json(path: Path) -> bool:
    return (path.with_suffix("") if path.suffix in OPENERS else path).suffix == ".json"


def read_materials(path: Path, *, table: bool = True) -> MaterialFrames:
    """Reads a folder of structures or of DeePMD-kit, a JSON table or a database of ASE.

    Args:
        path: the folder or file.
        table: read the values beside the structures; without, all are read as they are.

    Raises:
        DataError: not one of these, damaged, or values and structures that do not belong together.
    """
    structures = path.is_dir() and any(f.suffix.lower() in ENDINGS for f in path.iterdir())
    if not structures and (systems := deepmd_systems(path)):
        return MaterialFrames(frames=read_deepmd(systems), texts=(), named=False)
    if path.is_dir():
        return _folder(path) if table else _frames(path, _structure_files(path), {}, ())
    if path.suffix.lower() == ".db":
        if not path.is_file():
            raise DataError(f"no such file: {path}")
        return _rows(path, "db")
    content = _json(path)
    if isinstance(content, dict) and content.keys() >= _DATABASE:
        return _rows(path, "json")
    found = structure_table(content, str(path))
    if found is None:
        raise DataError(
            f"{path} has none of the layouts of JSON that are read: a table of structures of "
            "pymatgen or JARVIS and values, as pandas writes it (orient='split', as matbench has "
            "it, 'columns', 'index' or 'records'), structures alone, entries of pymatgen, frames "
            "by material as in MPtrj, or a database of ASE"
        )
    return MaterialFrames(frames=found.frames, texts=found.texts)


def _json(path: Path) -> Any:
    check_text(path)
    try:
        with OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8-sig") as handle:
            return json.load(handle)
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        raise DataError(f"{path} is not complete JSON ({error})") from error


def material_atoms(path: Path) -> list[Atoms] | None:
    """Returns the structures of a folder or a matbench file, with ids and values in `info`.

    Of what ASE reads itself, with all that it holds, it is None.

    Raises:
        DataError: see `read_materials`.
    """
    database = path.suffix == ".db" and path.is_file() and states_length(path)
    if not path.is_dir() and not _is_json(path) and not database:
        return None
    content = {} if path.is_dir() or database else _json(path)
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
        if (folder / "coord.npy").is_file():
            raise DataError(
                f"{folder} is a set of DeePMD-kit; give the folder {folder.parent}, whose {TYPES} "
                "says what the atoms are"
            )
        raise DataError(
            f"{folder} is a folder without structures ({', '.join(ENDINGS)}) and without systems "
            f"of DeePMD-kit ({TYPES} beside set.000); of other formats, list the files in it"
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
    check_text(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            lines = [(k, row) for k, row in enumerate(csv.reader(handle), 1) if any(row)]
    except FileNotFoundError:
        raise DataError(
            f"{path.parent} has no {path.name} with a line 'id,value' for each structure"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(not_utf8(path, error)) from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    cells = [(k, [cell.strip() for cell in row]) for k, row in lines]
    width = len(cells[0][1]) if cells else 0
    if width < 2 or any(mark in cells[0][1][0] for mark in ";\t"):
        line = ", and it is empty"
        if cells:
            line = f"; line {cells[0][0]} is {','.join(lines[0][1])!r}"
        raise DataError(
            f"{path}: expected an id and a value in each line, with a comma between them{line} "
            "(semicolons, tabs and blanks part nothing; a decimal comma must become a point)"
        )
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
        DataError: not of one structure, or see `cif_structures`.
    """
    found = cif_structures(path)
    if len(found) != 1:
        raise DataError(
            f"{path} is not a CIF of one structure (it has {len(found)} blocks with a structure)"
        )
    return _crystal(found[0], number, info)


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


def _rows(path: Path, kind: str) -> MaterialFrames:
    found = read_database(path, kind)
    return MaterialFrames(
        frames=found.frames, texts=found.texts, problems=found.problems, named=False
    )
