"""Bonds from distances: covalent ones, and those of metals with their first shell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from tlpot.bond_thresholds import (
    BONDED,
    CARBON_REACH,
    HYDROGEN_REACH,
    METAL_REACH,
    ORGANOMETALLIC_REACH,
    OVERLAP,
    RADII,
    SHARED,
)
from tlpot.errors import GeometryError
from tlpot.neighbors import neighbor_list
from tlpot.numbers import Bools, Floats, Ints
from tlpot.system import System


def _numbers(symbols: str) -> frozenset[int]:
    return frozenset(atomic_numbers[symbol] for symbol in symbols.split())


NOBLE = _numbers("He Ne Ar Kr Xe Rn")
HALOGENS = _numbers("F Cl Br I At")
COVALENT = _numbers("H B C N O Si P S Ge As Se Te") | HALOGENS
"""Elements that form covalent bonds; all others, noble gases apart, are metals."""

LABILE = _numbers("Li Na K Rb Cs Fr")
"""Metals whose first shell comes and goes: never merged with it."""

_CHARGES = {
    1: "Li Na K Rb Cs Fr Ag Tl",
    3: "Al Ga In Sc Y Cr La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Yb Lu",
}
_CHARGES[2] = "Be Mg Ca Sr Ba Ra Zn Cd Hg Mn Fe Co Ni Cu Pb V Sn Pd Pt"
ION_CHARGES = {z: charge for charge, symbols in _CHARGES.items() for z in _numbers(symbols)}
"""The usual charge of a metal ion, e; the oxidation state cannot be seen in a geometry."""
ION_CHARGES.update(dict.fromkeys(NOBLE, 0))

OPEN_SHELLS = _numbers("V Cr Mn Fe Co Ni Cu Pd Pt Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Yb")
"""Metals whose ion has a d or f shell that is filled in part."""
_OTHER_STATES = OPEN_SHELLS | _numbers("Ag Hg Sn Tl Pb")


def assumed_charges(numbers: Iterable[int]) -> str:
    """Returns in words which ions could have another charge than the usual one; empty for none."""
    metals = sorted(_OTHER_STATES.intersection(map(int, numbers)))
    words = ", ".join(f"{symbol(z)} {ION_CHARGES[z]:+d}" for z in metals)
    return f"{words} is assumed: no geometry shows an oxidation state" if words else ""


def symbol(number: int) -> str:
    """Returns the symbol of an element, or ``Z=0`` for what is none."""
    return chemical_symbols[number] if 0 < number < len(chemical_symbols) else f"Z={number}"


def formula(numbers: Iterable[int]) -> str:
    """Returns the formula in Hill order: carbon, hydrogen, then the alphabet."""
    counts = Counter(symbol(int(number)) for number in numbers)
    first = [s for s in ("C", "H") if s in counts] if "C" in counts else []
    order = first + sorted(set(counts) - set(first))
    return "".join(s + (str(counts[s]) if counts[s] > 1 else "") for s in order)


SHOWN = 10


def atom_name(index: int, numbers: Ints, labels: Sequence[str] | None) -> str:
    """Returns ``12 N (A/ALA 3)``: index, element, and what the file calls its residue."""
    name = f"{index} {symbol(int(numbers[index]))}"
    return f"{name} ({labels[index]})" if labels is not None and labels[index] else name


def geometry_error(what: str, lines: Sequence[str], remedy: str) -> GeometryError:
    """Returns an error with the first ten of `lines` and the number of the rest."""
    shown = [f"  {line}" for line in lines[:SHOWN]]
    if len(lines) > SHOWN:
        shown.append(f"  ... and {len(lines) - SHOWN} more")
    return GeometryError("\n".join([f"{what}:", *shown, remedy]))


@dataclass(frozen=True, kw_only=True)
class BondGraph:
    """The bonds of a structure.

    Attributes:
        pairs: [n_bonds, 2], int64, the smaller index first, sorted; metal bonds included.
        vectors: [n_bonds, 3], Å, from the first atom to the bound image of the second.
        neighbors: covalent neighbours of each atom, ascending.
        ligands: of a metal its first shell, of a donor its metals; both ascending.
    """

    pairs: Ints
    vectors: Floats
    neighbors: tuple[tuple[int, ...], ...]
    ligands: dict[int, tuple[int, ...]]

    def in_ring(self, atom: int, largest: int = 7) -> bool:
        """Tells whether an atom is in a ring of at most so many atoms."""
        return any(self.in_same_ring(atom, other, largest) for other in self.neighbors[atom])

    def in_same_ring(self, atom: int, other: int, largest: int = 7) -> bool:
        """Tells whether the bond between two atoms is in a ring of at most so many atoms."""
        front, seen = {other}, {other}
        for step in range(largest - 1):
            reached = {n for a in front for n in self.neighbors[a]} - seen
            if step == 0:
                reached.discard(atom)
            elif atom in reached:
                return True
            front, seen = reached, seen | reached
        return False


def perceive_bonds(system: System, labels: Sequence[str] | None = None) -> BondGraph:
    """Finds bonds by covalent radii (doi:10.1039/b801115j), in time linear in the atoms.

    A hydrogen near two atoms belongs to the one that is nearer in units of the sum of radii.

    `labels` are names of each atom's residue, for messages.

    Raises:
        GeometryError: NaN, no atoms, overlapping atoms, a hydrogen between two atoms, or a
            molecule that is bound to its own periodic image.
    """
    numbers = system.atomic_numbers
    covalent = np.isin(numbers, list(COVALENT))
    metal = ~covalent & ~np.isin(numbers, list(LABILE | NOBLE))
    first, second, vectors = _close_pairs(system, covalent, metal)
    ratio = np.linalg.norm(vectors, axis=1) / (RADII[numbers[first]] + RADII[numbers[second]])
    _refuse_overlaps(first, second, vectors, ratio < OVERLAP, numbers, labels)

    light = (numbers[first] == 1) | (numbers[second] == 1)
    bound = covalent[first] & covalent[second]
    carbons = (numbers[first] == 6) & (numbers[second] == 6)
    bound &= ratio < np.where(light, HYDROGEN_REACH, np.where(carbons, CARBON_REACH, BONDED))
    bound = _one_bond_per_hydrogen(first, second, ratio, bound, numbers, labels)
    carbon = (numbers[first] == 6) | (numbers[second] == 6)
    donated = (metal[first] & covalent[second]) | (metal[second] & covalent[first])
    donated &= ~light & (ratio < np.where(carbon, ORGANOMETALLIC_REACH, METAL_REACH))

    kept = np.flatnonzero(bound | donated)
    kept = kept[np.lexsort((second[kept], first[kept]))]
    pairs = np.stack([first[kept], second[kept]], axis=1)
    _refuse_double(pairs, numbers, labels)
    neighbors: list[list[int]] = [[] for _ in numbers]
    ligands: dict[int, list[int]] = {}
    for (a, b), is_metal in zip(pairs.tolist(), donated[kept].tolist(), strict=True):
        if is_metal:
            ligands.setdefault(a, []).append(b)
            ligands.setdefault(b, []).append(a)
        else:
            neighbors[a].append(b)
            neighbors[b].append(a)
    return BondGraph(
        pairs=pairs,
        vectors=vectors[kept],
        neighbors=tuple(tuple(sorted(row)) for row in neighbors),
        ligands={atom: tuple(sorted(row)) for atom, row in ligands.items()},
    )


def _close_pairs(system: System, covalent: Bools, metal: Bools) -> tuple[Ints, Ints, Floats]:
    """Returns pairs with first <= second that may be bonds, and the vectors between them."""
    radii = RADII[system.atomic_numbers]
    largest = radii[covalent].max(initial=0.31)
    reach = HYDROGEN_REACH * (largest + 0.31)
    reach = max(reach, BONDED * 2 * largest, OVERLAP * 2 * radii.max(initial=0.31))
    if metal.any():
        reach = max(reach, METAL_REACH * (radii[metal].max() + largest))
    found = neighbor_list(system, float(reach), closest=0.0)
    half = found.center <= found.neighbor
    first, second = found.center[half], found.neighbor[half]
    shifts = found.shifts[half] @ system.cell if system.pbc.any() else 0.0
    return first, second, system.positions[second] - system.positions[first] + shifts


def _refuse_overlaps(
    first: Ints,
    second: Ints,
    vectors: Floats,
    overlap: Bools,
    numbers: Ints,
    labels: Sequence[str] | None,
) -> None:
    if not overlap.any():
        return
    lines = [
        f"atoms {atom_name(int(first[k]), numbers, labels)} and "
        f"{atom_name(int(second[k]), numbers, labels)}: {np.linalg.norm(vectors[k]):.3f} Å"
        for k in np.flatnonzero(overlap)
    ]
    raise geometry_error(
        "atoms lie on top of each other",
        lines,
        "Are atoms given twice (alternate locations?), do chains overlap, is the length unit "
        "not Å, or is the cell too small? Remove the copies or relax the structure.",
    )


def _one_bond_per_hydrogen(
    first: Ints,
    second: Ints,
    ratio: Floats,
    bound: Bools,
    numbers: Ints,
    labels: Sequence[str] | None,
) -> Bools:
    """Leaves every hydrogen its nearest neighbour only; refuses one that has no nearest."""
    edges = np.flatnonzero(bound)
    ends = np.concatenate([first[edges], second[edges]])
    counts = np.bincount(ends, minlength=len(numbers))
    crowded = np.flatnonzero((numbers == 1) & (counts > 1))
    if not crowded.size:
        return bound
    owned: dict[int, list[int]] = {int(atom): [] for atom in crowded}
    for edge in edges.tolist():
        for atom in (int(first[edge]), int(second[edge])):
            if atom in owned:
                owned[atom].append(edge)
    bound = bound.copy()
    lines = []
    for atom, near in owned.items():
        near.sort(key=lambda edge: float(ratio[edge]))
        others = [int(first[edge] + second[edge]) - atom for edge in near]
        bound[near[1:]] = False
        if ratio[near[1]] - ratio[near[0]] < SHARED or 1 in numbers[others[1:]]:
            lines.append(
                f"atom {atom_name(atom, numbers, labels)} between "
                + " and ".join(atom_name(other, numbers, labels) for other in others)
            )
    if lines:
        raise geometry_error(
            "hydrogen atoms are as near to a second atom as to their own",
            lines,
            "Two molecules overlap, or a proton is halfway between two: relax the structure.",
        )
    return bound


def _refuse_double(pairs: Ints, numbers: Ints, labels: Sequence[str] | None) -> None:
    twice = np.zeros(len(pairs), dtype=bool)
    twice[1:] = (pairs[1:] == pairs[:-1]).all(axis=1)
    own = pairs[:, 0] == pairs[:, 1]
    if (twice | own).any():
        refuse_infinite(sorted({int(a) for a, _ in pairs[twice | own]}), numbers, labels)


def refuse_infinite(atoms: Sequence[int], numbers: Ints, labels: Sequence[str] | None) -> None:
    """Raises the error about molecules that are bound to their own images."""
    raise geometry_error(
        "a molecule runs through the periodic cell without end; it has no fragments",
        [f"atom {atom_name(atom, numbers, labels)}" for atom in atoms],
        "A crystal, a polymer, or a cell that is too small? Fragments need finite molecules; "
        "set pbc=False if the structure is not periodic.",
    )
