"""Structures to files, by the ending of the name: extended XYZ, PDB, mmCIF and what ASE writes.

Trajectories go to DCD and XTC, which programs for proteins read.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.cell import Cell

from tlpot.errors import ConfigError, DataError, MissingExtraError
from tlpot.files import PathLike, atomic_file, check_replaced
from tlpot.numbers import Floats
from tlpot.structures.conformers import LABELS, NOTES

_XYZ = (".xyz", ".extxyz")
_PDB = (".pdb", ".ent")
_CIF = (".cif", ".mmcif")


def check_structure_format(path: PathLike) -> None:
    """Checks that a structure can be written under a name.

    Raises:
        ConfigError: the ending stands for no format that holds one.
    """
    _format(Path(path))


def write_structure(atoms: Atoms, path: PathLike) -> None:
    """Writes a structure, atomically; energy and forces of its calculator go with it.

    A structure from a PDB or mmCIF file keeps the names of its chains, residues and atoms in
    files of these two kinds.

    Raises:
        ConfigError: see `check_structure_format`.
        OutputError: the file could not be written.
        MissingExtraError: gemmi, which writes names of residues, is not installed.
    """
    path = Path(path)
    kind = _format(path)
    with atomic_file(path) as temporary:
        _fill(temporary, atoms, path, kind)


def _fill(temporary: Path, atoms: Atoms, path: Path, kind: str) -> None:
    """Writes what is going to be called `path`."""
    if kind == "extxyz":
        temporary.write_text(extxyz_text([atoms]), encoding="utf-8")
    elif path.suffix.lower() in (*_PDB, *_CIF) and LABELS in atoms.arrays:
        temporary.write_text(_named_text(atoms, path), encoding="utf-8")
    else:
        from ase.io import write

        write(temporary, atoms, format=kind)


def _format(path: Path) -> str:
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    suffix = path.suffix.lower()
    if suffix in _XYZ:
        return "extxyz"
    try:
        kind = filetype(path.name, read=False)
    except UnknownFileTypeError:
        kind = ""
    if not suffix or kind not in ioformats or not ioformats[kind].can_write:
        raise ConfigError(
            f"{path.name}: no format of structures ends in {suffix or 'nothing'!r}; take .xyz, "
            ".pdb, .cif, .traj or .vasp"
        )
    return str(kind)


def _named_text(atoms: Atoms, path: Path) -> str:
    """Returns PDB or mmCIF text with the labels that `read_models` gave."""
    try:
        gemmi: Any = importlib.import_module("gemmi")
    except ImportError as error:
        raise MissingExtraError("gemmi", "pdb", f"writing {path.name}") from error
    labels, names = atoms.arrays[LABELS].tolist(), atoms.arrays["atom_name"].tolist()
    # before gemmi 0.7 the number of a model was a name
    model = gemmi.Model("1") if hasattr(gemmi.Model, "name") else gemmi.Model(1)
    positions = atoms.positions
    if atoms.pbc.all():  # these files know lengths and angles of the cell, not its orientation
        positions = standard_form(atoms)[1]
    chain = None
    for label, group in groupby(range(len(atoms)), key=lambda k: labels[k]):
        called, _, rest = label.rpartition("/")
        name, _, number = rest.replace("_", " ").rpartition(" ")
        if chain is None or chain.name != (called or "A"):
            chain = model.add_chain(gemmi.Chain(called or "A"))
        residue = gemmi.Residue()
        residue.name, residue.seqid = name, gemmi.SeqId(number)
        for k in group:
            atom = gemmi.Atom()
            atom.name, atom.element = names[k], gemmi.Element(str(atoms.symbols[k]))
            atom.pos = gemmi.Position(*positions[k].tolist())
            residue.add_atom(atom)
        chain.add_residue(residue)
    structure = gemmi.Structure()
    structure.add_model(model)
    if atoms.pbc.all():
        structure.cell = gemmi.UnitCell(*atoms.cell.cellpar().tolist())
        structure.spacegroup_hm = "P 1"
    structure.setup_entities()
    if path.suffix.lower() in _PDB:
        return structure.make_pdb_string()
    return structure.make_mmcif_document().as_string()


def write_trajectory(frames: Iterable[Atoms], path: PathLike, *, overwrite: bool = False) -> Path:
    """Writes frames as DCD or XTC, and the first of them as PDB beside it, for the names.

    Both files are written, or neither.

    DCD has positions to 1e-6 Å and no times, XTC to 0.01 Å with the times of the frames
    (``info["time_fs"]``, else their number in ps). Cells are turned so that the first vector
    lies along x, and the atoms with them.

    Args:
        frames: of the same atoms, all of them periodic in three directions or none.
        path: ends in ``.dcd`` or ``.xtc``; the PDB file has this name with ``.pdb``.
        overwrite: replace both files where they exist.

    Returns:
        The path of the PDB file.

    Raises:
        ConfigError: another ending, or no frames.
        DataError: frames of other atoms, or of which some are periodic.
        OutputError: one of the files exists and `overwrite` is not set, or they could not be
            written.
        MissingExtraError: mdtraj is not installed, or gemmi, which writes names of residues.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".dcd", ".xtc"):
        raise ConfigError(f"the trajectory {path} must end in .dcd or .xtc")
    names = path.with_suffix(".pdb")
    for file, what in ((path, "trajectory"), (names, "topology")):
        check_replaced(file, what=what, overwrite=overwrite, option=None)
    try:
        formats: Any = importlib.import_module("mdtraj.formats")
    except ImportError as error:
        raise MissingExtraError("mdtraj", "trajectories", f"writing {path.name}") from error
    first: Atoms | None = None
    with atomic_file(names) as topology, atomic_file(path) as temporary:
        kind = formats.DCDTrajectoryFile if suffix == ".dcd" else formats.XTCTrajectoryFile
        with kind(str(temporary), "w") as handle:
            for number, frame in enumerate(frames):
                first = frame if first is None else first
                same = np.array_equal(frame.numbers, first.numbers)
                if not same or frame.pbc.all() != first.pbc.all():
                    raise DataError(
                        f"frame {number} has other atoms than the first, or another periodicity; "
                        "write each kind to a file of its own"
                    )
                _write_frame(handle, frame, number, dcd=suffix == ".dcd")
        if first is None:
            raise ConfigError(f"there are no frames to write to {path}")
        _fill(topology, first, names, _format(names))
    return names


def _write_frame(handle: Any, frame: Atoms, number: int, *, dcd: bool) -> None:
    bulk = bool(frame.pbc.all())
    cell, positions = standard_form(frame) if bulk else (np.zeros((3, 3)), frame.positions)
    positions = positions.astype(np.float32)[None]
    if dcd:
        sides = frame.cell.cellpar().astype(np.float32)[None]
        box = {"cell_lengths": sides[:, :3], "cell_angles": sides[:, 3:]} if bulk else {}
        handle.write(positions, **box)
        return
    time = frame.info["time_fs"] / 1000.0 if "time_fs" in frame.info else float(number)
    step = frame.info.get("step", number)
    handle.write(
        positions / np.float32(10.0),
        time=np.array([time], dtype=np.float32),
        step=np.array([step], dtype=np.int32),
        box=(cell / 10.0).astype(np.float32)[None],
    )


def standard_form(atoms: Atoms) -> tuple[Floats, Floats]:
    """Returns lattice vectors, lower triangular rows, and positions, turned together, Å.

    Vectors of a left-handed cell are turned round, which leaves the lattice, its lengths and
    angles, and the handedness of the molecules in it.
    """
    cell, turn = (atoms.cell if atoms.cell.handedness > 0 else Cell(-atoms.cell)).standard_form()
    return cell.array, atoms.positions @ turn.T


def extxyz_text(frames: Iterable[Atoms]) -> str:
    """Returns extended XYZ; constraints and what calculators have computed go with it.

    What would make the file unreadable does not: spaces in columns of text, such as names of
    residues, become underscores; the reader's notes, which are lines of their own, are left out.
    """
    from ase.io.extxyz import write_xyz

    text = io.StringIO()
    write_xyz(text, [_for_extxyz(frame) for frame in frames])
    return text.getvalue()


def _for_extxyz(atoms: Atoms) -> Atoms:
    copy: Atoms = atoms.copy()
    copy.calc = atoms.calc
    copy.info.pop(NOTES, None)
    for name, values in list(copy.arrays.items()):
        if values.dtype.kind == "U":
            copy.arrays[name] = np.char.replace(values, " ", "_")
    return copy
