"""The reader of structures: a file of any format, or one of ASE's molecules, with its charge."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tlpot.data import (
    cif_structures,
    is_xyz,
    material_atoms,
    output_kind,
    read_output,
    read_xyz_atoms,
)
from tlpot.errors import (
    ChargeWarning,
    DataError,
    GeometryError,
    MissingExtraError,
    TLPotError,
    ValenceError,
    nearest,
)
from tlpot.files import check_text
from tlpot.numbers import counted
from tlpot.structures.molecules import ENDINGS as SDF
from tlpot.structures.molecules import PREFIX, looks_like_smiles, read_sdf, smiles_atoms
from tlpot.structures.proteins import (
    NOTES,
    ProteinFile,
    incomplete_residues,
    protein_atoms,
    settled,
)
from tlpot.system import stated_charge_of
from tlpot.topology import assumed_charges, perceive_topology
from tlpot.total_charge import charge_and_spin, stated_charge

_PROTEINS = (".pdb", ".ent", ".cif", ".mmcif", ".pdb1", ".pdbx")
_DUMP_HEAD = 16
"""Lines in which a dump of LAMMPS says what it holds."""
_DUMP_UNITS = ("real", "metal")
_FULL = 0.06
"""Atoms for each Å³ from which on they fill a cell; water has 0.1, a protein in its crystal half of
that, and a third to an eighth again where symmetry makes the rest."""


def name_charge(
    atoms: Atoms, where: str, *, charge_key: str | None = None, spin_key: str | None = None
) -> None:
    """Keeps what a structure states, in place, as ``info["charge"]`` and ``info["spin"]`` only.

    Other keys that state them, initial charges and magnetic moments go: what reads the structure
    later finds one answer. What is not stated stays so.

    Args:
        atoms: changed in place.
        where: file and frame, for messages.
        charge_key: the only key of ``info`` to read the charge from.
        spin_key: the only key of ``info`` to read the multiplicity from.

    Raises:
        GeometryError: see `tlpot.total_charge.stated_charge`; the message says where.
    """
    try:
        if charge_key is None and spin_key is None:
            found = stated_charge_of(atoms)
        else:
            found = stated_charge(
                atoms.info, atoms.arrays, int(atoms.numbers.sum()),
                charge_key=charge_key, spin_key=spin_key, periodic=bool(atoms.pbc.any()),
            )  # fmt: skip
    except GeometryError as error:
        raise GeometryError(f"{where}: {error}") from None
    for key in found.keys | {"initial_charges", "initial_magmoms"}:
        atoms.info.pop(key, None)
        atoms.arrays.pop(key, None)
    if found.charge is not None:
        atoms.info["charge"] = found.charge
    if found.spin is not None:
        atoms.info["spin"] = found.spin


def check_charge(atoms: Atoms, where: str) -> None:
    """Checks that a molecule's electrons can have its multiplicity; `where` is for messages.

    The electrons of a periodic cell need not be a whole molecule's, so any number passes.

    Raises:
        GeometryError: they cannot, or their number is odd and no multiplicity is stated.
    """
    if atoms.pbc.any():
        return
    try:
        charge_and_spin(atoms.info, atoms.arrays, int(atoms.numbers.sum()))
    except GeometryError as error:
        raise GeometryError(f"{where}: {error}") from None


def read_structure(name: str | Path) -> Atoms:
    """Returns one structure of a file, an ASE molecule such as ``CH3CH2OH``, or that of a SMILES.

    It is the last of a trajectory and the first of the models of a PDB or mmCIF file, whose
    number is in ``info["reader_notes"]``. See `read_all` for the rest. Of a SMILES, ``smiles:CO``
    where it is a name of ASE's, too, it is a first conformer.

    Raises:
        DataError: neither a file nor such a name, or the file could not be read.
        ConfigError: what looks like a SMILES is none of one molecule.
        GeometryError: its charge or multiplicity cannot be understood, or it has no conformer.
        MissingExtraError: a SMILES without RDKit.
    """
    name, path = str(name), Path(name)
    if not path.exists():
        return _by_name(name)
    frames = read_all(path)
    if not _is_protein(path):
        return frames[-1]
    if len(frames) > 1:
        said = f"the first of {len(frames)} models is read"
        frames[0].info[NOTES] = "\n".join(filter(None, [frames[0].info.get(NOTES), said]))
    return frames[0]


def _by_name(name: str) -> Atoms:
    from ase.build import molecule
    from ase.collections import g2

    if name in g2.names:
        found = molecule(name)
        name_charge(found, name)
        return found
    smiles = name.removeprefix(PREFIX)
    if smiles == name and not looks_like_smiles(name):
        raise DataError(
            f"there is no file {name!r}, no ASE molecule of that name{_similar(name)}, and it is "
            "no SMILES"
        )
    found = smiles_atoms(smiles)
    found.info[NOTES] = f"a first conformer (MMFF94) of the SMILES {smiles}"
    return found


def read_frames(name: str) -> list[Atoms]:
    """Returns all structures of a file, or that of a name; see `read_structure`.

    Raises:
        DataError: see `read_structure`; or the file has no structures, or those of several
            molecules.
    """
    path = Path(name)
    if not path.exists():
        return [read_structure(name)]
    frames = read_all(path)
    for k, frame in enumerate(frames):
        if not np.array_equal(frame.numbers, frames[0].numbers):
            raise DataError(
                f"{path}: frame {k} has other atoms than frame 0 ({frame.get_chemical_formula()}, "
                f"not {frames[0].get_chemical_formula()}, or another order); give the frames of "
                "one molecule"
            )
    return frames


def read_all(
    path: Path, *, charge_key: str | None = None, spin_key: str | None = None
) -> list[Atoms]:
    """Returns all structures of a file, whatever they are; this reader is the only one.

    Models of PDB and mmCIF files are conformations, with one location of every atom (see
    `read_models`). XYZ files are read as datasets are, everything else by ASE. What states
    charge and multiplicity becomes ``info["charge"]`` and ``info["spin"]``.

    Args:
        path: the file.
        charge_key: the only key of ``info`` to read the charge from.
        spin_key: the only key of ``info`` to read the multiplicity from.

    Raises:
        DataError: the file could not be read, has no structures, or lacks a named key.
        GeometryError: a charge or multiplicity cannot be understood; the frame is named.
    """
    frames = _read(path)
    if not frames:
        raise DataError(f"{path} holds no structures")
    for key in filter(None, (charge_key, spin_key)):
        if not any(key in frame.info for frame in frames):
            held = sorted({str(k) for frame in frames for k in frame.info})
            raise DataError(
                f"{path}: no frame has the key {key!r}; the file has {', '.join(held) or 'none'}"
            )
    for k, frame in enumerate(frames):
        name_charge(frame, f"{path}, frame {k}", charge_key=charge_key, spin_key=spin_key)
    return frames


def _read(path: Path) -> list[Atoms]:
    materials = material_atoms(path)
    if materials is not None:
        return materials
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    check_text(path)
    if _is_protein(path):
        return read_models(path)
    if is_xyz(path):
        return read_xyz_atoms(path)
    if path.suffix.lower() in SDF:
        return read_sdf(path)
    if path.suffix.lower() == ".cif":
        return cif_structures(path)
    if output_kind(path) == "output of ORCA":  # of which ASE loses the charge
        return read_output(path, "output of ORCA").steps
    from ase.io import iread

    _check_elements(path)
    try:
        return list(iread(path, index=":"))
    except TLPotError:
        raise
    except Exception as error:  # every reader of ASE has its own
        raise DataError(
            f"ASE could not read {path} ({type(error).__name__}: {error}); give a file such as "
            ".xyz, .pdb, .cif, .sdf or .traj"
        ) from error


def _check_elements(path: Path) -> None:
    """Refuses dumps of LAMMPS without elements: ASE takes the types 1, 2, ... for H, He, ...

    The same holds for ``.gro``, whose names of atoms it shortens to elements: sodium to N, chloride
    to C, the virtual site of water to W.

    Raises:
        DataError: the columns name no elements, or lengths are not in Å.
    """
    if path.suffix.lower() == ".gro":
        raise DataError(
            f"{path} names atoms and no elements; write it with them: gmx editconf -f {path.name} "
            f"-o {path.stem}.pdb"
        )
    with path.open("rb") as handle:
        lines = [handle.readline().decode(errors="replace").split() for _ in range(_DUMP_HEAD)]
    if lines[0][:2] not in (["ITEM:", "TIMESTEP"], ["ITEM:", "UNITS"]):
        return
    columns = next((words[2:] for words in lines if words[:2] == ["ITEM:", "ATOMS"]), [])
    if not {"element", "mass"} & {*columns}:
        raise DataError(
            f"{path}: the dump of LAMMPS has the columns {' '.join(columns)}, and no element; "
            "write it with 'dump ... custom ... id element x y z' and 'dump_modify ... element O "
            "H', or replace the types by elements"
        )
    units = [lines[k + 1] for k, words in enumerate(lines[:-1]) if words[:2] == ["ITEM:", "UNITS"]]
    if units and units[0] and units[0][0] not in _DUMP_UNITS:
        raise DataError(
            f"{path}: the dump of LAMMPS is in {units[0][0]} units; expected Å, as in real or metal"
        )


def read_models(path: Path) -> list[Atoms]:
    """Returns every model of a PDB or mmCIF file; names and numbers are for messages only.

    Of alternate locations, one letter is kept for every run of neighbouring residues that
    have them: the one with the highest mean occupancy, of equals the first in the alphabet; where
    hydrogens have no letter, of those that most of them sit on. A heavy atom that this letter
    lacks is taken from the letter with the highest occupancy, and so are hydrogens where this
    letter has none of its own and they still sit on one of its atoms. Deuterium becomes hydrogen,
    and massless sites of water models are dropped.

    A cell is taken where atoms fill it and the space group is P 1, as of a box of water. The cell
    of a crystal also needs its symmetry, and a protein alone in a box is taken without; the notes
    say so.

    Returns:
        Atoms with the arrays ``residue_label`` and ``atom_name``, and ``info["reader_notes"]``.

    Raises:
        DataError: no such file, no atoms, unreadable lines, or atoms without element or position.
        GeometryError: amino acids, nucleotides or waters without any hydrogen, or amino acids,
            caps or waters that lack some atom (see `incomplete_residues`).
        MissingExtraError: gemmi is not installed.

    Warns:
        ChargeWarning: the bonds tell no charge, as of radicals and unknown metals.
    """
    whole = _parsed(path)
    frames, untold = [], {}
    for k in range(len(whole)):
        single = _gemmi().Structure()
        single.add_model(whole[k])
        where = path if len(whole) == 1 else Path(f"{path}, model {whole[k].num}")
        _check_hydrogens(single[0], path)
        loaded = settled(single, where, [])
        atoms = protein_atoms(loaded)
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
        why = _name_formal_charge(atoms, loaded, path)  # whose bonds may cross the cell
        if why:
            untold[k] = why, int(atoms.info.get("charge", 0))
        frames.append(atoms)
    _warn_of_charges(untold, len(whole), path)
    return frames


def _name_formal_charge(atoms: Atoms, loaded: ProteinFile, path: Path) -> str:
    """Keeps the total charge of a molecule: that which its bonds tell, else that of the file.

    Files state charges of some atoms only, so that their sum counts where bonds tell nothing.

    Returns:
        Why bonds tell nothing; empty where they do.

    Raises:
        GeometryError: amino acids, caps or waters lack atoms.
    """
    said, why = [], ""
    try:
        charge = perceive_topology(atoms).charge
        said.append(assumed_charges(atoms.numbers))  # even where all charges add up to none
        if charge:
            said.insert(0, f"charge {charge:+d}, by its bonds")
    except GeometryError as error:
        if isinstance(error, ValenceError):
            _check_complete(incomplete_residues(loaded, atoms, error.short), path)
        charge = sum(a.charge for chain in loaded.structure[0] for r in chain for a in r)
        first, *rest = str(error).splitlines()
        atoms_named = [line.strip() for line in rest if line.startswith("  ")]
        why = f"{first} {'; '.join(atoms_named[:2])}{'; ...' * (len(atoms_named) > 2)}".strip()
        said.append(f"charge {charge:+d}, as the file states of its atoms: {why}")
    if charge:
        atoms.info["charge"] = charge
    atoms.info[NOTES] = "\n".join(filter(None, [atoms.info[NOTES], *said]))
    return why


def _warn_of_charges(untold: Mapping[int, tuple[str, int]], models: int, path: Path) -> None:
    if not untold:
        return
    why, charge = next(iter(untold.values()))
    where = f", {len(untold)} of {models} models" if models > 1 else ""
    warnings.warn(
        f"{path}{where}: the charge does not follow from the bonds: {why}. Taken is {charge:+d}, "
        "the sum of those that the file states of its atoms; say which it is (charge=... or "
        "--charge, or extended XYZ with charge=... and spin=...), or add what is missing",
        ChargeWarning,
        stacklevel=4,
    )


def _check_complete(missing: Sequence[str], path: Path) -> None:
    """Refuses residues that lack atoms.

    Raises:
        GeometryError: there are some.
    """
    if missing:
        raise GeometryError(
            f"{path}: {counted(len(missing), 'incomplete residue')} ({'; '.join(missing[:3])}"
            f"{'; ...' * (len(missing) > 3)}), so that bonds tell no charge; `tlpot fragment "
            f"{path} --prepare OUT.pdb` adds what is missing. If it is meant to be so, as of a "
            "radical or an ion, give it as extended XYZ with charge=... and spin=..."
        )


def _check_hydrogens(model: Any, path: Path) -> None:
    """Refuses what diffraction has seen no hydrogens of, which no energy may be taken of.

    Raises:
        GeometryError: residues that have hydrogens are without any.
    """
    bare = [
        f"{chain.name}/{residue.name} {residue.seqid}".removeprefix("/")
        for chain in model
        for residue in chain
        if _has_hydrogens(residue.name) and not any(atom.is_hydrogen() for atom in residue)
    ]
    if bare:
        raise GeometryError(
            f"{path}: {counted(len(bare), 'residue')} without any hydrogen ({', '.join(bare[:3])}"
            f"{', ...' * (len(bare) > 3)}); `tlpot fragment {path} --prepare OUT.pdb` adds what is "
            "missing"
        )


def _has_hydrogens(name: str) -> bool:
    """Whether what is called so always has hydrogens; anything may be called UNK."""
    known = _gemmi().find_tabulated_residue(name)
    kinds = known.is_amino_acid() or known.is_nucleic_acid() or known.is_water()
    return bool(kinds and known.hydrogen_count and name != "UNK")


def _has_cell(cell: Any) -> bool:
    """Whether a `gemmi.UnitCell` is one: files have 1 x 1 x 1 Å where there is none."""
    return bool(cell.is_crystal()) and max(cell.a, cell.b, cell.c) > 1.5


def _set_cell(atoms: Atoms, cell: Any) -> None:
    atoms.set_cell([cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma])
    atoms.pbc = True


def is_protein_file(path: Path) -> bool:
    """Tells whether a name ends as those of PDB and mmCIF files do."""
    return path.name.lower().removesuffix(".gz").endswith(_PROTEINS)


def load_protein(path: Path, *, model: int | None = None) -> ProteinFile:
    """Reads one model of a PDB or mmCIF file, the first by default; see `read_models`.

    Raises:
        DataError: see `read_models`; or there is no such model.
        MissingExtraError: gemmi is not installed.
    """
    structure = _parsed(path)
    notes: list[str] = []
    _keep_model(structure, model, path, notes)
    return settled(structure, path, notes)


def _parsed(path: Path) -> Any:
    gemmi = _gemmi()
    if not path.is_file():
        raise DataError(f"there is no file {str(path)!r}")
    check_text(path)
    try:
        structure = gemmi.read_structure(str(path), merge_chain_parts=False)
    except Exception as error:  # gemmi raises RuntimeError, ValueError and OSError
        raise DataError(
            f"{path} cannot be read: {error}; is it truncated, or not a PDB or mmCIF file?"
        ) from error
    if not len(structure):
        raise DataError(f"{path} has no atoms; expected ATOM or HETATM records")
    return structure


def _keep_model(structure: Any, model: int | None, path: Path, notes: list[str]) -> None:
    numbers = [one.num for one in structure]
    if model is not None and model not in numbers:
        shown = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
        raise DataError(f"{path} has no model {model}; it has {shown}")
    index = 0 if model is None else numbers.index(model)
    if model is None and len(numbers) > 1:
        notes.append(
            f"model {numbers[0]} of {len(numbers)} is read; --model-number (model=) takes another"
        )
    for other in reversed(range(len(numbers))):
        if other != index:
            del structure[other]


def _is_protein(path: Path) -> bool:
    """Tells gemmi's files from ASE's: a CIF file with fractional coordinates holds a crystal."""
    if not is_protein_file(path):
        return False
    if not path.name.lower().endswith((".cif", ".cif.gz")) or not path.is_file():
        return True
    try:
        cif = _gemmi().cif
    except MissingExtraError:  # of a crystal ASE needs no more
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8", errors="replace") as file:
            return not any(line.strip().lower() == "_atom_site_fract_x" for line in file)
    try:
        blocks = list(cif.read(str(path)))
    except Exception:  # unreadable: the reader that follows says why
        return True
    return not any(block.find_values("_atom_site_fract_x") for block in blocks)


def _gemmi() -> Any:
    try:
        import gemmi
    except ImportError as error:
        raise MissingExtraError("gemmi", "pdb", "reading PDB and mmCIF files") from error
    return gemmi


def _similar(name: str) -> str:
    from ase.collections import g2

    hint = nearest(name, g2.names)
    return hint.partition(" (valid")[0] if "did you mean" in hint else ""
