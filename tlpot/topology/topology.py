"""What a structure is made of: bonds, units, residues and chains."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tlpot.numbers import Ints

UnitKind = Literal["amino", "alpha", "side", "carbonyl", "molecule"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A group of atoms that no fragment boundary runs through.

    An amino acid has the units amino {N, H on N}, alpha {CA, H on CA}, carbonyl {C, O, OXT} and,
    unless it is glycine, side {the rest}. An acetyl cap has alpha {CH3} and carbonyl, an
    N-methylamide cap amino and alpha. Whatever has no peptide backbone is one unit of kind
    molecule: a water, an ion, a ligand, a metal with its first shell.

    Side chains that bonds connect (cystine, isopeptides, staples) are one unit of several
    residues.

    Attributes:
        kind: what it is.
        atoms: indices in the structure, ascending.
        charge: formal charge, e.
        residues: indices of the residues that it belongs to; one, but for crosslinks.
    """

    kind: UnitKind
    atoms: tuple[int, ...]
    charge: int
    residues: tuple[int, ...]


ResidueKind = Literal["amino", "n-cap", "c-cap", "molecule"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Residue:
    """One residue, as its bonds tell.

    Attributes:
        name: perceived from the bond graph: a three-letter name with the protonation state in
            it (ALA, HID, HIE, HIP, ASP, ASH, CYS, CYX, CYM, LYN, ...), ACE, NME, HOH, an element
            symbol for an ion, or the formula of what has no name.
        label: what the file calls it, such as ``A/ALA 12``; for messages and tables only.
        kind: amino acid, cap at the N or C terminus, or a molecule without backbone.
        amino: index of its amino unit, None if it has none.
        alpha: index of its alpha unit; None of NH2 and formyl caps.
        side: index of its side-chain unit; None of glycine, caps, and where the side chain is
            merged into the alpha unit.
        carbonyl: index of its carbonyl unit. Where units are merged (a metal that binds a
            carbonyl, an isopeptide), two roles of one residue may have the same index.
        units: indices of all its units, each once.
        partners: other residues that share a unit with it or are bound to it by a bond that may
            not be cut; a fragment with the core of one has the core of all.
    """

    name: str
    label: str | None
    kind: ResidueKind
    amino: int | None
    alpha: int | None
    side: int | None
    carbonyl: int | None
    units: tuple[int, ...]
    partners: tuple[int, ...] = ()

    def number(self, index: int) -> str:
        """Returns its number in the file, with the chain: ``A/12``; else its place."""
        if not self.label:
            return str(index)
        chain, slash, rest = self.label.rpartition("/")
        return f"{chain}{slash}{rest.replace('_', ' ').rpartition(' ')[2]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """Residues joined by peptide bonds, caps included; a molecule is a chain of one.

    Attributes:
        residues: indices from the N to the C terminus; of a ring, from an arbitrary one on.
        cyclic: the last is bound to the first.
    """

    residues: tuple[int, ...]
    cyclic: bool = False


@dataclass(frozen=True, kw_only=True)
class Topology:
    """The partition of a structure into units that fragments are made of.

    Every atom is in one unit, every unit in at least one residue, every residue in one chain.
    Bonds between units are those that fragments may cut.

    Attributes:
        atomic_numbers: [n_atoms], int64.
        bonds: [n_bonds, 2], int64, the smaller index first, sorted.
        units: see `Unit`.
        residues: see `Residue`.
        chains: see `Chain`.
    """

    atomic_numbers: Ints
    bonds: Ints
    units: tuple[Unit, ...]
    residues: tuple[Residue, ...]
    chains: tuple[Chain, ...]

    @property
    def charge(self) -> int:
        """Total formal charge, e."""
        return sum(unit.charge for unit in self.units)

    @property
    def unit_of(self) -> Ints:
        """The unit of each atom, [n_atoms]."""
        owner = np.empty(len(self.atomic_numbers), dtype=np.int64)
        for index, unit in enumerate(self.units):
            owner[list(unit.atoms)] = index
        return owner

    @property
    def cuts(self) -> Ints:
        """The bonds between units, [n_cuts, 2]."""
        owner = self.unit_of
        return self.bonds[owner[self.bonds[:, 0]] != owner[self.bonds[:, 1]]]

    @property
    def neighbors(self) -> list[list[int]]:
        """The atoms bound to each atom."""
        near: list[list[int]] = [[] for _ in self.atomic_numbers]
        for i, j in self.bonds.tolist():
            near[i].append(j)
            near[j].append(i)
        return near

    def summary(self) -> str:
        """Returns a table of residues with names, labels and charges; molecules are counted."""
        return topology_table(self)


def topology_table(topology: Topology) -> str:
    """Returns totals, one line per residue of a peptide, and a count of each other molecule.

    The charge of a unit that several residues share is shown with the first of them.
    """
    peptides = [chain for chain in topology.chains if len(chain.residues) > 1]
    others = [chain.residues[0] for chain in topology.chains if len(chain.residues) == 1]
    lines = [
        f"{_count(len(topology.atomic_numbers), 'atom')}, {_count(len(topology.bonds), 'bond')}, "
        f"{_count(len(topology.units), 'unit')}, {_count(len(topology.cuts), 'bond')} to cut, "
        f"charge {topology.charge:+d}"
    ]
    for number, chain in enumerate(peptides, start=1):
        kind = "ring" if chain.cyclic else "chain"
        lines.append(f"{kind} {number}: {_count(len(chain.residues), 'residue')}")
        lines += [_line(topology, residue) for residue in chain.residues]
    kinds: Counter[tuple[str, int, bool]] = Counter(
        (topology.residues[r].name, _charge(topology, r), bool(topology.residues[r].partners))
        for r in others
    )
    for (name, charge, bound), count in sorted(kinds.items()):
        lines.append(
            f"{count} x {name}, charge {charge:+d}" + (", bound to other residues" * bound)
        )
    return "\n".join(lines)


def _line(topology: Topology, index: int) -> str:
    residue = topology.residues[index]
    atoms = sum(len(topology.units[unit].atoms) for unit in residue.units)
    line = f"  {residue.number(index):>7}  {residue.name:<8} {_charge(topology, index):+3d}"
    line += f"  {atoms:4d} atoms"
    if residue.label:
        line += f"  {residue.label}"
    if residue.partners:
        others = [(topology.residues[other], other) for other in residue.partners]
        names = (f"{other.name} {other.number(k)}" for other, k in others)
        line += f"  bound to {', '.join(names)}"
    return line


def _charge(topology: Topology, index: int) -> int:
    units = (topology.units[unit] for unit in topology.residues[index].units)
    return sum(unit.charge for unit in units if unit.residues[0] == index)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def residue_of(topology: Topology) -> Ints:
    """Returns the residue of each atom, [n_atoms].

    Atoms of a unit that several residues share go to the residue whose alpha unit is fewest
    bonds away, which halves a disulfide at its bridge.
    """
    owner = np.full(len(topology.atomic_numbers), -1, dtype=np.int64)
    shared: set[int] = set()
    for unit in topology.units:
        if len(unit.residues) == 1:
            owner[list(unit.atoms)] = unit.residues[0]
        else:
            shared |= set(unit.atoms)
    bonded = topology.neighbors
    front = [atom for atom in range(len(owner)) if owner[atom] >= 0]
    while shared:
        reached: dict[int, int] = {}
        for atom in front:
            for other in bonded[atom]:
                if other in shared:
                    reached.setdefault(other, int(owner[atom]))
        if not reached:  # a shared unit without any backbone next to it
            for unit in topology.units:
                for atom in shared & set(unit.atoms):
                    owner[atom] = unit.residues[0]
            break
        for atom, residue in reached.items():
            owner[atom] = residue
        shared -= reached.keys()
        front = list(reached)
    return owner
