"""Protein files, PDB and mmCIF, as one conformer of one model, and what can be written back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tlpot.errors import DataError, MissingExtraError

SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".pdb1", ".pdbx")
LABELS = "residue_label"
"""The per-atom array with names like ``A/ALA 12``."""
_FULL = 0.06
"""Atoms for each Å³ from which on they fill a cell; water has 0.1, a protein in its crystal half of
that, and a third to an eighth again where symmetry makes the rest."""

_LONGEST_XH = 1.5
"""Å; of a bond to hydrogen, that of S-H (1.34) with the shift between two locations."""

NOTES = "reader_notes"
"""The key of ``atoms.info`` with what was dropped or chosen, one line each."""


@dataclass(frozen=True, kw_only=True)
class ProteinFile:
    """One model of a file, with one conformation of every residue.

    Attributes:
        structure: a `gemmi.Structure` with one model and no alternate locations.
        notes: what was dropped or chosen.
    """

    structure: Any
    notes: tuple[str, ...]


def read_models(path: Path) -> list[Atoms]:
    """Returns every model of a PDB or mmCIF file; names and numbers are for messages only.

    Of alternate locations, one letter is kept for every run of neighbouring residues that
    have them: the one with the highest mean occupancy, of equals the first in the alphabet. A
    heavy atom that this letter lacks is taken from the letter with the highest occupancy, and so
    are hydrogens where this letter has none of its own and they still sit on one of its atoms.
    Deuterium becomes hydrogen.

    A cell is taken where atoms fill it and the space group is P 1, as of a box of water. The cell
    of a crystal also needs its symmetry, and a protein alone in a box is taken without; the notes
    say so.

    Args:
        path: a file; ``.gz`` is unpacked.

    Returns:
        Atoms with the arrays ``residue_label`` and ``atom_name``, and ``info["reader_notes"]``.

    Raises:
        DataError: no such file, no atoms, unreadable lines, or atoms without element or position.
        MissingExtraError: gemmi is not installed.
    """
    whole = _parsed(path)
    frames = []
    for k in range(len(whole)):
        single = _gemmi().Structure()
        single.add_model(whole[k])
        where = path if len(whole) == 1 else Path(f"{path}, model {whole[k].num}")
        atoms = protein_atoms(_settled(single, where, []))
        if _has_cell(whole.cell):
            group = whole.spacegroup_hm.strip() or "P 1"
            full = len(atoms) >= _FULL * whole.cell.volume
            if full and group == "P 1":
                _set_cell(atoms, whole.cell)
            said = "periodic in the cell of" if atoms.pbc.all() else "not periodic: the cell of"
            said = f"{said} the file, {whole.cell.volume:.0f} Å³, space group {group}"
            if not atoms.pbc.all():
                said += ", is ignored; for a periodic structure give extended XYZ with Lattice"
            atoms.info[NOTES] = "\n".join(filter(None, [atoms.info[NOTES], said]))
        frames.append(atoms)
    return frames


def protein_atoms(loaded: ProteinFile) -> Atoms:
    """Returns the atoms of a file, without its cell; see `read_models`."""
    rows = [
        (residue_label(chain, residue), atom)
        for chain in loaded.structure[0]
        for residue in chain
        for atom in residue
    ]
    atoms = Atoms(
        numbers=[atom.element.atomic_number for _, atom in rows],
        positions=[atom.pos.tolist() for _, atom in rows],
    )
    atoms.set_array(LABELS, np.array([label for label, _ in rows]))
    atoms.set_array("atom_name", np.array([atom.name for _, atom in rows]))
    atoms.info[NOTES] = "\n".join(loaded.notes)
    return atoms


def _has_cell(cell: Any) -> bool:
    """Whether a `gemmi.UnitCell` is one: files have 1 x 1 x 1 Å where there is none."""
    return bool(cell.is_crystal()) and max(cell.a, cell.b, cell.c) > 1.5


def _set_cell(atoms: Atoms, cell: Any) -> None:
    atoms.set_cell([cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma])
    atoms.pbc = True


def is_protein_file(path: Path) -> bool:
    """Tells whether a name ends as those of PDB and mmCIF files do."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def load_protein(path: Path, *, model: int | None = None) -> ProteinFile:
    """Reads one model of a PDB or mmCIF file, the first by default; see `read_models`.

    Raises:
        DataError: see `read_models`; or there is no such model.
        MissingExtraError: gemmi is not installed.
    """
    structure = _parsed(path)
    notes: list[str] = []
    _keep_model(structure, model, path, notes)
    return _settled(structure, path, notes)


def _parsed(path: Path) -> Any:
    gemmi = _gemmi()
    if not path.is_file():
        raise DataError(f"there is no file {str(path)!r}")
    try:
        structure = gemmi.read_structure(str(path), merge_chain_parts=False)
    except Exception as error:  # gemmi raises RuntimeError, ValueError and OSError
        raise DataError(
            f"{path} cannot be read: {error}; is it truncated, or not a PDB or mmCIF file?"
        ) from error
    if not len(structure):
        raise DataError(f"{path} has no atoms; expected ATOM or HETATM records")
    return structure


def _settled(structure: Any, path: Path, notes: list[str]) -> ProteinFile:
    """Leaves one location of every atom of a structure with one model."""
    if not any(len(residue) for chain in structure[0] for residue in chain):
        raise DataError(f"{path} has no atoms; expected ATOM or HETATM records")
    for chain in structure[0]:
        keep_conformers(chain, notes)
    _check_atoms(structure, path, notes)
    return ProteinFile(structure=structure, notes=tuple(notes))


def residue_label(chain: Any, residue: Any) -> str:
    """Returns ``A/ALA 12``, with the insertion code if there is one; no chain, no slash."""
    name = f"{residue.name} {residue.seqid}"
    return f"{chain.name}/{name}" if chain.name.strip() else name


def keep_conformers(chain: Any, notes: list[str]) -> None:
    """Leaves one conformation of every residue of a `gemmi.Chain`; see `read_models`."""
    positions: list[list[int]] = []
    for index, residue in enumerate(chain):
        if positions and chain[positions[-1][0]].seqid == residue.seqid and _alternates(residue):
            positions[-1].append(index)
        else:
            positions.append([index])
    doomed: list[int] = []
    run: list[list[int]] = []
    for group in [*positions, []]:
        if any(_alternates(chain[index]) for index in group):
            run.append(group)
            continue
        doomed += _settle(chain, run, notes) if run else []
        run = []
    for index in sorted(doomed, reverse=True):
        del chain[index]


def _settle(chain: Any, run: list[list[int]], notes: list[str]) -> list[int]:
    """Chooses a letter for a run of residues; returns the indices of those to be deleted."""
    best = _best_letter([a for group in run for k in group for a in chain[k]])
    doomed = []
    for group in run:
        atoms = [atom for index in group for atom in chain[index]]
        letters = sorted({atom.altloc for atom in atoms} - {"\0"})
        letter = best if best in letters else _best_letter(atoms)
        kept = next(k for k in group if any(a.altloc == letter for a in chain[k]))
        label = residue_label(chain, chain[kept])
        others = [chain[k].name for k in group if k != kept]
        doomed += [k for k in group if k != kept]
        mixed, lost = _keep_letter(chain[kept], letter)
        note = f"{label}: alternate location {letter} of {', '.join(letters)} kept"
        note += f"; {', '.join(others)} at the same place dropped" * bool(others)
        note += f"; {', '.join(mixed)} only in another one, taken from there" * bool(mixed)
        note += f"; {', '.join(lost)} only in another one, dropped" * bool(lost)
        notes.append(note)
    return doomed


def _keep_letter(residue: Any, letter: str) -> tuple[list[str], list[str]]:
    """Drops other conformations; returns the atoms that had to come from them, and those lost."""
    mine = {atom.name for atom in residue if atom.altloc in ("\0", letter)}
    spare: dict[str, int] = {}
    for index, atom in enumerate(residue):
        if atom.name not in mine:
            rival = spare.get(atom.name)
            if rival is None or atom.occ > residue[rival].occ:
                spare[atom.name] = index
    # a letter with hydrogens of its own says where they are: another tautomer has others
    own = any(atom.is_hydrogen() and atom.altloc == letter for atom in residue)
    heavy = [atom for atom in residue if not atom.is_hydrogen()]
    heavy = [atom for atom in heavy if atom.altloc in ("\0", letter)]
    heavy += [residue[k] for k in spare.values() if not residue[k].is_hydrogen()]
    for name, index in list(spare.items()):
        atom = residue[index]
        bound = any(atom.pos.dist(other.pos) < _LONGEST_XH for other in heavy)
        if atom.is_hydrogen() and (own or not bound):
            del spare[name]
    lost = sorted({atom.name for atom in residue} - mine - spare.keys())
    for index in reversed(range(len(residue))):
        if residue[index].altloc not in ("\0", letter) and index not in spare.values():
            del residue[index]
    for atom in residue:
        atom.altloc = "\0"
    return sorted(spare), lost


def _best_letter(atoms: list[Any]) -> str:
    occupancies: dict[str, list[float]] = {}
    for atom in atoms:
        if atom.has_altloc():
            occupancies.setdefault(atom.altloc, []).append(atom.occ)
    ranked = sorted(occupancies, key=lambda x: (-round(float(np.mean(occupancies[x])), 4), x))
    return ranked[0]


def _alternates(residue: Any) -> bool:
    return any(atom.has_altloc() for atom in residue)


def _keep_model(structure: Any, model: int | None, path: Path, notes: list[str]) -> None:
    numbers = [one.num for one in structure]
    if model is not None and model not in numbers:
        shown = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
        raise DataError(f"{path} has no model {model}; it has {shown}")
    index = 0 if model is None else numbers.index(model)
    if model is None and len(numbers) > 1:
        notes.append(f"model {numbers[0]} of {len(numbers)} read; model= takes another")
    for other in reversed(range(len(numbers))):
        if other != index:
            del structure[other]


def _check_atoms(structure: Any, path: Path, notes: list[str]) -> None:
    gemmi = _gemmi()
    nameless, lost, heavy_hydrogen = [], [], 0
    for chain in structure[0]:
        for residue in chain:
            named = gemmi.Element(residue.name)
            lone = len(residue) == 1 and residue[0].name.upper() == residue.name.upper()
            if lone and named.atomic_number and named != residue[0].element:  # no element column
                notes.append(f"{residue_label(chain, residue)} read as the ion {named.name}")
                residue[0].element = named
            for atom in residue:
                name = f"{atom.name} of {residue_label(chain, residue)} (serial {atom.serial})"
                if atom.element.atomic_number == 0:
                    nameless.append(name)
                if not np.isfinite(atom.pos.tolist()).all():
                    lost.append(name)
                heavy_hydrogen += atom.element.name == "D"
    for bad, what in ((nameless, "no known element"), (lost, "no finite position")):
        if bad:
            more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
            raise DataError(f"{path}: atoms with {what}: {'; '.join(bad[:10])}{more}")
    if heavy_hydrogen:
        notes.append(f"{heavy_hydrogen} deuterium atoms read as hydrogen")


def is_small_molecule_cif(path: Path) -> bool:
    """Tells whether a CIF file holds a crystal (fractional coordinates): ASE's, not gemmi's."""
    if not path.name.lower().endswith((".cif", ".cif.gz")) or not path.is_file():
        return False
    cif = _gemmi().cif
    try:
        blocks = list(cif.read(str(path)))
    except Exception:  # unreadable: the reader that follows says why
        return False
    return any(block.find_values("_atom_site_fract_x") for block in blocks)


def _gemmi() -> Any:
    try:
        import gemmi
    except ImportError as error:
        raise MissingExtraError("gemmi", "pdb", "reading PDB and mmCIF files") from error
    return gemmi


def for_extxyz(atoms: Atoms) -> Atoms:
    """Returns a copy without what would make the file unreadable.

    Spaces in columns of text, such as names of residues, become underscores; the reader's notes,
    which are lines of their own, are left out.

    Args:
        atoms: not changed; constraints are copied, a calculator is not.
    """
    copy: Atoms = atoms.copy()
    copy.info.pop(NOTES, None)
    for name, values in list(copy.arrays.items()):
        if values.dtype.kind == "U":
            copy.arrays[name] = np.char.replace(values, " ", "_")
    return copy
