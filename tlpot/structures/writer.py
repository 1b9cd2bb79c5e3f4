"""Structures to files, by the ending of the name: extended XYZ, PDB, mmCIF and what ASE writes.

Trajectories go to DCD and XTC, which programs for proteins read.
"""

from __future__ import annotations

import importlib
import io
import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain as joined
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.cell import Cell

from tlpot.bond_thresholds import BONDED, RADII
from tlpot.errors import ConfigError, DataError, MissingExtraError
from tlpot.files import PathLike, atomic_file, check_replaced
from tlpot.numbers import Floats
from tlpot.structures.proteins import LABELS, NOTES

_XYZ = (".xyz", ".extxyz")
_PDB = (".pdb", ".ent")
_CIF = (".cif", ".mmcif")
_LONGEST = {"chain": 2, "residue": 3}
"""Characters of a name for which a PDB file has room."""


def check_structure_format(path: PathLike, atoms: Atoms | None = None) -> None:
    """Checks that a structure can be written under a name.

    Args:
        path: the name.
        atoms: the structure, as far as it is known: its names must fit into a PDB file.

    Raises:
        ConfigError: the ending stands for no format that holds one, or a PDB file has no room for
            the names of chains or residues.
    """
    path = Path(path)
    _format(path)
    if atoms is not None and path.suffix.lower() in _PDB and LABELS in atoms.arrays:
        _check_names(atoms, path)


def write_structure(atoms: Atoms, path: PathLike) -> None:
    """Writes a structure, atomically; energy and forces of its calculator go with it.

    A structure from a PDB or mmCIF file keeps the names of its chains, residues and atoms in
    files of these two kinds.

    Sulfur atoms that are bound to each other are recorded as disulfides there.

    Raises:
        ConfigError: see `check_structure_format`.
        DataError: an array of residue labels has one without a number.
        OutputError: the file could not be written.
        MissingExtraError: gemmi, which writes names of residues, is not installed.
    """
    path = Path(path)
    check_structure_format(path, atoms)
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


def _check_names(atoms: Atoms, path: Path) -> None:
    too_long = _too_long(atoms)
    if too_long:
        raise ConfigError(
            f"{path.name}: a PDB file has room for chain names of {_LONGEST['chain']} characters "
            f"and residue names of {_LONGEST['residue']}; the structure has {', '.join(too_long)}. "
            "Write a .cif file, which holds them, or .xyz"
        )


def _too_long(atoms: Atoms) -> list[str]:
    """Returns the names for which a PDB file has no room, such as ``chain AAA``."""
    found: dict[str, None] = {}
    for label in dict.fromkeys(atoms.arrays[LABELS].tolist()):
        chain, name, _ = _parts(label)
        for what, text in (("chain", chain), ("residue", name)):
            if len(text) > _LONGEST[what]:
                found[f"{what} {text}"] = None
    return list(found)


def _parts(label: str) -> tuple[str, str, str]:
    """Returns chain, name, and number with insertion code of the label of a residue."""
    chain, _, rest = label.rpartition("/")
    name, _, number = rest.replace("_", " ").rpartition(" ")
    return chain, name, number


def _named_text(atoms: Atoms, path: Path) -> str:
    """Returns PDB or mmCIF text with the labels that `read_models` gave."""
    try:
        gemmi: Any = importlib.import_module("gemmi")
    except ImportError as error:
        raise MissingExtraError("gemmi", "pdb", f"writing {path.name}") from error
    structure = _structure(gemmi, atoms)
    if path.suffix.lower() in _PDB:
        return str(structure.make_pdb_string())
    _name_subchains(gemmi, structure)
    return str(structure.make_mmcif_document().as_string())


def _structure(gemmi: Any, atoms: Atoms) -> Any:
    """Returns a `gemmi.Structure` with one model and the disulfides of it."""
    labels, names = atoms.arrays[LABELS].tolist(), atoms.arrays["atom_name"].tolist()
    # before gemmi 0.7 the number of a model was a name
    model = gemmi.Model("1") if hasattr(gemmi.Model, "name") else gemmi.Model(1)
    positions = atoms.positions
    if atoms.pbc.all():  # these files know lengths and angles of the cell, not its orientation
        positions = standard_form(atoms)[1]
    chain, addresses = None, {}
    for label, group in groupby(range(len(atoms)), key=lambda k: labels[k]):
        called, name, number = _parts(label)
        if chain is None or chain.name != (called or "A"):
            chain = model.add_chain(gemmi.Chain(called or "A"))
        residue = gemmi.Residue()
        residue.name, residue.seqid = name, _seqid(gemmi, label, number)
        for k in group:
            atom = gemmi.Atom()
            atom.name, atom.element = names[k], gemmi.Element(str(atoms.symbols[k]))
            atom.pos = gemmi.Position(*positions[k].tolist())
            residue.add_atom(atom)
            addresses[k] = gemmi.AtomAddress(chain.name, residue.seqid, name, atom.name)
        chain.add_residue(residue)
    structure = gemmi.Structure()
    structure.add_model(model)
    if atoms.pbc.all():
        structure.cell = gemmi.UnitCell(*atoms.cell.cellpar().tolist())
        structure.spacegroup_hm = "P 1"
    structure.setup_entities()
    for k, (one, other) in enumerate(_disulfides(atoms), start=1):
        bond = gemmi.Connection()
        bond.name, bond.type = f"disulf{k}", gemmi.ConnectionType.Disulf
        bond.partner1, bond.partner2 = addresses[one], addresses[other]
        structure.connections.append(bond)
    return structure


def _seqid(gemmi: Any, label: str, number: str) -> Any:
    found = re.fullmatch(r"(-?\d+)(\S?)", number)
    if found is None:
        raise DataError(
            f"the residue label {label!r} ends in no number; expected one such as 'A/ALA 12' in "
            f"atoms.arrays[{LABELS!r}]"
        )
    return gemmi.SeqId(int(found[1]), found[2] or " ")


def _disulfides(atoms: Atoms) -> list[tuple[int, int]]:
    """Returns pairs of sulfur atoms of two residues that are a bond apart."""
    from ase.neighborlist import neighbor_list

    sulfur = np.flatnonzero(atoms.numbers == 16)
    if len(sulfur) < 2:
        return []
    first, second = neighbor_list("ij", atoms[sulfur], 2 * BONDED * float(RADII[16]))
    labels = atoms.arrays[LABELS][sulfur]
    pairs = {(i, j) for i, j in zip(first, second, strict=True) if i < j and labels[i] != labels[j]}
    return [(int(sulfur[i]), int(sulfur[j])) for i, j in sorted(pairs)]


def _name_subchains(gemmi: Any, structure: Any) -> None:
    """Calls the first molecule of a chain what the chain is called, and numbers polymers.

    OpenMM finds the ends of a bond by ``label_asym_id`` and ``label_seq_id``, and knows atoms by
    the chain's name where there are as many chains as molecules.
    """
    names: dict[str, str] = {}
    numbers: Counter[str] = Counter()
    for chain in structure[0]:
        if chain.name not in names.values():
            names[chain[0].subchain] = chain.name
        for residue in chain:
            residue.subchain = names.get(residue.subchain, residue.subchain)
            if residue.entity_type == gemmi.EntityType.Polymer:
                numbers[residue.subchain] += 1
                residue.label_seq = numbers[residue.subchain]
    for entity in structure.entities:
        entity.subchains = [names.get(name, name) for name in entity.subchains]


def write_trajectory(frames: Iterable[Atoms], path: PathLike, *, overwrite: bool = False) -> Path:
    """Writes frames as DCD or XTC, and the first of them as PDB beside it, for the names.

    Where a PDB file has no room for the names of chains or residues, it is mmCIF, ``.cif``. Both
    files are written, or neither.

    DCD has positions to 1e-6 Å and no times, XTC to 0.01 Å with the times of the frames
    (``info["time_fs"]``, else their number in ps). Cells are turned so that the first vector
    lies along x, and the atoms with them.

    Args:
        frames: of the same atoms, all of them periodic in three directions or none.
        path: ends in ``.dcd`` or ``.xtc``; the PDB file has this name with ``.pdb``.
        overwrite: replace both files where they exist.

    Returns:
        The path of the PDB or mmCIF file.

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
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise ConfigError(f"there are no frames to write to {path}")
    if LABELS in first.arrays and _too_long(first):
        names = path.with_suffix(".cif")
        check_replaced(names, what="topology", overwrite=overwrite, option=None)
    with atomic_file(names) as topology, atomic_file(path) as temporary:
        kind = formats.DCDTrajectoryFile if suffix == ".dcd" else formats.XTCTrajectoryFile
        with kind(str(temporary), "w") as handle:
            for number, frame in enumerate(joined([first], rest)):
                same = np.array_equal(frame.numbers, first.numbers)
                if not same or frame.pbc.all() != first.pbc.all():
                    raise DataError(
                        f"frame {number} has other atoms than the first, or another periodicity; "
                        "write each kind to a file of its own"
                    )
                _write_frame(handle, frame, number, dcd=suffix == ".dcd")
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
