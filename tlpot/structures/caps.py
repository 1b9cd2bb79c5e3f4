"""Acetyl and N-methylamide groups at the ends of the chains of a protein file."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlpot.bond_thresholds import CARBONYL_REACH
from tlpot.numbers import Floats
from tlpot.structures.peptide_chain import place
from tlpot.topology import dihedral_angles

TORSIONS = np.arange(-180.0, 180.0, 15.0)
CLEARANCE = 2.4
"""Å; no water stays nearer than this to a heavy atom of a cap."""
N_C, C_C, C_O, N_METHYL = 1.335, 1.51, 1.23, 1.45
"""Å: amide C-N, C-CH3, C=O and N-CH3 of a peptide, rounded from crystal structures."""


def add_caps(structure: Any, notes: list[str]) -> None:
    """Adds heavy atoms of ACE and NME to every open end of a chain of amino acids.

    The free torsion (phi or psi) is the one that keeps the cap farthest from everything else;
    waters that are still in the way are removed. Hydrogens and OXT of the ends are removed:
    whoever adds hydrogens afterwards knows better.

    The structure is a `gemmi.Structure` with one model, changed in place; notes are appended.
    """
    model = structure[0]
    for chain in model:
        amino = [k for k, residue in enumerate(chain) if is_amino(residue)]
        if not amino:
            continue
        first, last = amino[0], amino[-1]
        capped = first > 0 and chain[first - 1].name == "ACE"
        closed = last + 1 < len(chain) and chain[last + 1].name in ("NME", "NH2")
        for index, done in ((first, capped), (last, closed)):
            if not done:
                _strip(chain[index])
        if not closed:
            cap = _methylamide(chain[last], _positions(model))
            if last + 1 < len(chain) and chain[last + 1].seqid == cap.seqid:
                cap.seqid.num, cap.seqid.icode = chain[last].seqid.num, "Z"
            chain.add_residue(cap, last + 1)
            notes.append(f"chain {chain.name}: NME added after {chain[last].name}")
        if not capped:
            cap = _acetyl(chain[first], _positions(model))
            if first > 0 and chain[first - 1].seqid == cap.seqid:
                cap.seqid.icode = "Z"
            chain.add_residue(cap, first)
            notes.append(f"chain {chain.name}: ACE added before {chain[first + 1].name}")
    _clear_water(model, notes)


def _clear_water(model: Any, notes: list[str]) -> None:
    """Removes waters where a cap now is: a crystal water often sits in line with a terminus."""
    caps = [residue for chain in model for residue in chain if residue.name in ("ACE", "NME")]
    if not caps:
        return
    taken = np.array([atom.pos.tolist() for residue in caps for atom in residue])
    for chain in model:
        for index in reversed(range(len(chain))):
            residue = chain[index]
            if not residue.is_water():
                continue
            water = np.array([atom.pos.tolist() for atom in residue])
            if np.linalg.norm(water[:, None] - taken[None], axis=2).min() < CLEARANCE:
                notes.append(f"water {chain.name} {residue.seqid} removed: a cap takes its place")
                del chain[index]


def is_amino(residue: Any) -> bool:
    """Tells whether a residue has the atoms N, CA and C."""
    return all(residue.find_atom(name, "*") is not None for name in ("N", "CA", "C"))


def _acetyl(residue: Any, others: Floats) -> Any:
    n, ca, c = (_at(residue, name) for name in ("N", "CA", "C"))
    others = _without(others, n, ca)
    best: dict[str, Floats] = {}
    for torsion in TORSIONS:
        carbon = place((n, ca, c), N_C, 122.0, float(torsion))
        trial = {
            "CH3": place((carbon, n, ca), C_C, 116.0, 180.0),
            "C": carbon,
            "O": place((carbon, n, ca), C_O, 123.0, 0.0),
        }
        best = _roomier(best, trial, others)
    return _residue("ACE", residue.seqid.num - 1, best)


def _methylamide(residue: Any, others: Floats) -> Any:
    n, ca, c = (_at(residue, name) for name in ("N", "CA", "C"))
    oxygen = residue.find_atom("O", "*")
    torsions = TORSIONS
    if oxygen is not None:
        torsions = dihedral_angles([n, ca, c, _at(residue, "O")], [0, 1, 2, 3]) + 180.0
    others = _without(others, c, ca)
    best: dict[str, Floats] = {}
    for torsion in torsions:
        nitrogen = place((c, ca, n), N_C, 116.0, float(torsion))
        trial = {"N": nitrogen, "C": place((nitrogen, c, ca), N_METHYL, 122.0, 180.0)}
        if oxygen is None:
            trial["O"] = place((c, ca, n), C_O, 121.0, float(torsion) + 180.0)
        best = _roomier(best, trial, others)
    if oxygen is None:
        residue.add_atom(_atom("O", best.pop("O")))
    return _residue("NME", residue.seqid.num + 1, best)


def _roomier(
    best: dict[str, Floats], trial: dict[str, Floats], others: Floats
) -> dict[str, Floats]:
    """Returns the one of two caps whose end is farther from all other atoms."""
    return trial if not best or _room(trial, others) > _room(best, others) else best


def _room(cap: dict[str, Floats], others: Floats) -> float:
    far = [cap[name] for name in cap if name in ("CH3", "O", "C")]
    return min(float(np.linalg.norm(others - end, axis=1).min()) for end in far)


def _without(others: Floats, *gone: Floats) -> Floats:
    """Leaves out the atoms whose distance to the cap no torsion changes."""
    far = [np.linalg.norm(others - x, axis=1) > 1e-6 for x in gone]
    return others[np.logical_and.reduce(far)]


def _strip(residue: Any) -> None:
    """Leaves no hydrogen, and one oxygen on C whatever the file calls them, named O."""
    carbon = _at(residue, "C")
    oxygens = [
        atom.name
        for atom in residue
        if atom.element.name == "O"
        and np.linalg.norm(np.array(atom.pos.tolist()) - carbon) < CARBONYL_REACH
    ]
    kept = "O" if "O" in oxygens else oxygens[0] if oxygens else None
    for index in reversed(range(len(residue))):
        atom = residue[index]
        if atom.is_hydrogen() or (atom.name in oxygens and atom.name != kept):
            del residue[index]
        elif atom.name == kept:
            atom.name = "O"


def _positions(model: Any) -> Floats:
    return np.array([a.pos.tolist() for chain in model for residue in chain for a in residue])


def _at(residue: Any, name: str) -> Floats:
    return np.array(residue.find_atom(name, "*").pos.tolist())


def _residue(name: str, number: int, atoms: dict[str, Floats]) -> Any:
    import gemmi

    residue = gemmi.Residue()
    residue.name = name
    residue.seqid = gemmi.SeqId(number, " ")
    for label, position in atoms.items():
        residue.add_atom(_atom(label, position))
    return residue


def _atom(name: str, position: Floats) -> Any:
    import gemmi

    atom = gemmi.Atom()
    atom.name = name
    atom.element = gemmi.Element(name[0])
    atom.pos = gemmi.Position(*position.tolist())
    return atom
