"""Proteins of gemmi: one conformation of every residue, atoms with names, and what lacks atoms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tlpot.errors import DataError
from tlpot.numbers import Bools, Ints, counted
from tlpot.topology import fewest_atoms, formula

LABELS = "residue_label"
"""The per-atom array with names like ``A/ALA 12``."""

_SHARED_XH = 1.5
"""Å; of a bond to hydrogen, that of S-H (1.34) with the shift between two locations."""

_SAME_PLACE = 0.05
"""Å; two locations that differ by less from a hydrogen hold it alike."""

NOTES = "reader_notes"
"""The key of ``atoms.info`` with what was dropped or chosen, one line each."""


_IONS = {
    "LIT": "Li", "SOD": "Na", "POT": "K", "RUB": "Rb", "CES": "Cs", "CAL": "Ca", "BAR": "Ba",
    "MG2": "Mg", "ZN2": "Zn", "CD2": "Cd", "CAD": "Cd", "CLA": "Cl",
}  # fmt: skip
"""Ions by CHARMM's names, which begin with the symbols of other elements, or with none."""


@dataclass(frozen=True, kw_only=True)
class ProteinFile:
    """One model of a file, with one conformation of every residue.

    Attributes:
        structure: a `gemmi.Structure` with one model and no alternate locations.
        notes: what was dropped or chosen.
    """

    structure: Any
    notes: tuple[str, ...]


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


def settled(structure: Any, path: Path, notes: list[str]) -> ProteinFile:
    """Leaves one location of every atom of a `gemmi.Structure` with one model; see `read_models`.

    Raises:
        DataError: no atoms, or some without element or position.
    """
    if not any(len(residue) for chain in structure[0] for residue in chain):
        raise DataError(f"{path} has no atoms; expected ATOM or HETATM records")
    for chain in structure[0]:
        keep_conformers(chain, notes)
    _drop_sites(structure, notes)
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
    residues = [chain[k] for group in run for k in group]
    everything = [atom for residue in residues for atom in residue]
    best = _best_letter(everything, _letters_of_hydrogens(residues))
    usual = best == _best_letter(everything)
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
        note += "; hydrogens without a letter sit there" * (letter == best and not usual)
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
        bound = any(atom.pos.dist(other.pos) < _SHARED_XH for other in heavy)
        if atom.is_hydrogen() and (own or not bound):
            del spare[name]
    lost = sorted({atom.name for atom in residue} - mine - spare.keys())
    for index in reversed(range(len(residue))):
        if residue[index].altloc not in ("\0", letter) and index not in spare.values():
            del residue[index]
    for atom in residue:
        atom.altloc = "\0"
    return sorted(spare), lost


def _best_letter(atoms: list[Any], riding: set[str] | None = None) -> str:
    """Returns the letter with the highest occupancy, of those in `riding` if there are any."""
    occupancies: dict[str, list[float]] = {}
    for atom in atoms:
        if atom.has_altloc() and (not riding or atom.altloc in riding):
            occupancies.setdefault(atom.altloc, []).append(atom.occ)
    ranked = sorted(occupancies, key=lambda x: (-round(float(np.mean(occupancies[x])), 4), x))
    return ranked[0]


def _letters_of_hydrogens(residues: list[Any]) -> set[str]:
    """Returns the letters on whose heavy atoms most of the hydrogens without a letter sit."""
    votes: Counter[str] = Counter()
    for residue in residues:
        heavy = [atom for atom in residue if not atom.is_hydrogen()]
        for atom in residue:
            if not heavy or atom.has_altloc() or not atom.is_hydrogen():
                continue
            parent = min(heavy, key=lambda other: atom.pos.dist(other.pos))
            if parent.has_altloc():
                reach = atom.pos.dist(parent.pos) + _SAME_PLACE
                same = (other for other in heavy if other.name == parent.name)
                votes.update(other.altloc for other in same if atom.pos.dist(other.pos) < reach)
    return {letter for letter, n in votes.items() if n == max(votes.values())}


def _alternates(residue: Any) -> bool:
    return any(atom.has_altloc() for atom in residue)


def _drop_sites(structure: Any, notes: list[str]) -> None:
    """Drops what water models have beside three atoms: places of charge without mass."""
    dropped: list[str] = []
    for chain in structure[0]:
        for residue in chain:
            numbers = [atom.element.atomic_number for atom in residue]
            if sorted(filter(None, numbers)) != [1, 1, 8]:
                continue
            for index in reversed(range(len(residue))):
                if numbers[index] == 0:
                    dropped.append(residue[index].name)
                    del residue[index]
    if dropped:
        sites = counted(len(dropped), "massless site")
        notes.append(f"{sites} of water models dropped ({', '.join(sorted(set(dropped)))})")


def _check_atoms(structure: Any, path: Path, notes: list[str]) -> None:
    import gemmi

    nameless, lost, heavy_hydrogen = [], [], 0
    for chain in structure[0]:
        for residue in chain:
            named = gemmi.Element(_IONS.get(residue.name.upper(), residue.name))
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


_FARTHEST_XH = 1.4
"""Å; a hydrogen farther from all atoms of its residue may have gone over to another one."""

_ALONE = 2.6
"""Å; heavy atoms of other residues are farther from the end of a chain that nothing closes, and
nearer where a bond to it is being made or broken."""


def incomplete_residues(loaded: ProteinFile, atoms: Atoms, short: Iterable[int]) -> list[str]:
    """Returns the residues that lack atoms, with what is missing: ``A/SER 3: H``.

    Diffraction and cut models leave them so. Valences that do not close have other reasons, too:
    radicals, transition states, bonds that nobody knows. So an atom with an open valence is not
    enough: the file must list fewer atoms of its residue than such a residue has at least, or end
    a chain there.

    Args:
        loaded: the file.
        atoms: the same, in the same order.
        short: atoms that lack neighbours, see `ValenceError`. One whose charge the file states is
            not missing any.
    """
    rows = [(c, r) for c in loaded.structure[0] for r in c]
    entries = [(k, atom) for k, (_, residue) in enumerate(rows) for atom in residue]
    owner = np.array([k for k, _ in entries])
    suspects: dict[int, list[int]] = {}
    for index in sorted(short):
        if not entries[index][1].charge:
            suspects.setdefault(int(owner[index]), []).append(index)
    found = []
    for k, indices in suspects.items():
        chain, residue = rows[k]
        name = "HOH" if residue.is_water() else residue.name.upper()
        inside = np.flatnonzero(owner == k)
        missing = _missing(name, [atom.name for atom in residue], atoms, inside)
        if missing:
            found.append(f"{residue_label(chain, residue)}: {formula(missing.elements())}")
        elif missing is not None:
            ends = [i for i in indices if entries[i][1].name in ("C", "N")]
            ends = [i for i in ends if _is_alone(i, atoms, owner != k)]
            found += [
                f"{residue_label(chain, residue)}: nothing closes the chain at {entries[i][1].name}"
                for i in ends
            ]
    return found


def _missing(name: str, names: Sequence[str], atoms: Atoms, inside: Ints) -> Counter[int] | None:
    """Returns what a residue lacks by atomic number, None where its name says nothing."""
    least = fewest_atoms(name)
    if least is None:
        return None
    numbers = atoms.numbers[inside]
    heavy = np.flatnonzero(numbers != 1)
    counts = Counter(numbers[heavy].tolist())
    missing = Counter({z: n - counts[z] for z, n in least.heavy.items() if n > counts[z]})
    held: Counter[str] = Counter()
    for index in inside[numbers == 1].tolist():
        distances = atoms.get_distances(index, inside[heavy], mic=True)
        nearest = int(heavy[np.argmin(distances)]) if len(heavy) else -1
        if nearest < 0 or distances.min() > _FARTHEST_XH:
            held["anywhere"] += 1
        elif numbers[nearest] == 6:
            held["carbon"] += 1
        else:
            held["backbone" if names[nearest] == "N" else "elsewhere"] += 1
    needed: Mapping[str, int] = {
        "carbon": least.on_carbon, "backbone": least.on_backbone, "elsewhere": least.elsewhere,
    }  # fmt: skip
    lost = sum(max(n - held[where], 0) for where, n in needed.items()) - held["anywhere"]
    return missing + Counter({1: max(lost, 0)})


def _is_alone(index: int, atoms: Atoms, outside: Bools) -> bool:
    others = np.flatnonzero(outside & (atoms.numbers != 1))
    return not len(others) or bool(atoms.get_distances(index, others, mic=True).min() > _ALONE)
