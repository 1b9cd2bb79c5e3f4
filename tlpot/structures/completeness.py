"""Amino acids, caps and waters of a file that lack atoms, as diffraction and cut models leave them.

Valences that do not close have other reasons, too: radicals, transition states, bonds that nobody
knows. So an atom with an open valence is not enough: the file must list fewer atoms of its residue
than such a residue has at least, or end a chain there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from ase import Atoms

from tlpot.numbers import Bools, Ints
from tlpot.structures.conformers import ProteinFile, residue_label
from tlpot.topology import fewest_atoms, formula

_LONGEST_XH = 1.4
"""Å; a hydrogen farther from all atoms of its residue may have gone over to another one."""

_ALONE = 2.6
"""Å; heavy atoms of other residues are farther from the end of a chain that nothing closes, and
nearer where a bond to it is being made or broken."""


def incomplete_residues(loaded: ProteinFile, atoms: Atoms, short: Iterable[int]) -> list[str]:
    """Returns the residues that lack atoms, with what is missing: ``A/SER 3: H``.

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
        if nearest < 0 or distances.min() > _LONGEST_XH:
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
