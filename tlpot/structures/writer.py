"""Structures to files, by the ending of the name: extended XYZ, PDB, mmCIF and what ASE writes."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tlpot.errors import ConfigError, MissingExtraError
from tlpot.files import PathLike, atomic_file, write_text
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
    if kind == "extxyz":
        write_text(path, extxyz_text([atoms]))
    elif path.suffix.lower() in (*_PDB, *_CIF) and LABELS in atoms.arrays:
        write_text(path, _named_text(atoms, path))
    else:
        from ase.io import write

        with atomic_file(path) as temporary:
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
    """Returns PDB or mmCIF text with the labels that `read_protein` gave."""
    try:
        gemmi: Any = importlib.import_module("gemmi")
    except ImportError as error:
        raise MissingExtraError("gemmi", "pdb", f"writing {path.name}") from error
    labels, names = atoms.arrays[LABELS].tolist(), atoms.arrays["atom_name"].tolist()
    # before gemmi 0.7 the number of a model was a name
    model = gemmi.Model("1") if hasattr(gemmi.Model, "name") else gemmi.Model(1)
    positions = atoms.positions
    if atoms.pbc.all():  # these files know lengths and angles of the cell, not its orientation
        positions = positions @ atoms.cell.standard_form()[1].T
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
