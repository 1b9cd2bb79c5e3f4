"""Peptide backbones in a bond graph, linked into chains, with what caps them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tlpot.numbers import Ints
from tlpot.topology.bonds import BondGraph
from tlpot.topology.topology import ResidueKind, UnitKind
from tlpot.topology.valence import Valences

SMALLEST_RING = 3
"""A ring of fewer residues (a diketopiperazine) is taken for a molecule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PeptideBackbone:
    """The backbone of one amino acid: the indices of N, CA, C, and of what C is bound to next.

    Attributes:
        n: amino nitrogen.
        ca: alpha carbon.
        c: carbonyl carbon.
        oxygens: oxygens on C that are bound to nothing else.
        after: the third neighbour of C (N, O, S or H), or None of a carboxylate.
    """

    n: int
    ca: int
    c: int
    oxygens: tuple[int, ...]
    after: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Strand:
    """Backbones joined by peptide bonds, from the N to the C terminus."""

    backbones: tuple[PeptideBackbone, ...]
    cyclic: bool


@dataclass(frozen=True, kw_only=True)
class ValenceGraph:
    """What backbones are searched in.

    Attributes:
        numbers: [n_atoms], atomic numbers.
        graph: the bonds.
        valences: their orders.
    """

    numbers: Ints
    graph: BondGraph
    valences: Valences

    def near(self, atom: int) -> tuple[int, ...]:
        """Returns the covalent neighbours of an atom."""
        return self.graph.neighbors[atom]

    def hydrogens(self, atom: int) -> list[int]:
        """Returns the hydrogens on an atom."""
        return [n for n in self.near(atom) if self.numbers[n] == 1]

    def heavy(self, atom: int) -> list[int]:
        """Returns the other neighbours of an atom."""
        return [n for n in self.near(atom) if self.numbers[n] != 1]

    def oxo(self, atom: int) -> list[int]:
        """Returns the oxygens on an atom that are bound to nothing else."""
        return [n for n in self.near(atom) if self.numbers[n] == 8 and len(self.near(n)) == 1]


def find_strands(molecule: ValenceGraph) -> list[Strand]:
    """Finds the peptides of a structure.

    A peptide is at least two amino acids in a row, or one with a known cap at one end and at
    the other a known cap or nothing but hydrogens or a carboxyl group; a ring has at least
    three. So a free amino acid, a diketopiperazine, a hydantoin or lidocaine is a molecule.
    """
    found = _unambiguous(_candidates(molecule))
    while True:
        strands = _link(found, molecule)
        blocked = {atom for b in found for atom in (b.n, b.ca, b.c)}
        kept = [strand for strand in strands if _is_peptide(strand, molecule, blocked)]
        if len(kept) == len(strands):
            return kept
        found = [b for strand in kept for b in strand.backbones]


def branch(molecule: ValenceGraph, root: int, blocked: Iterable[int]) -> tuple[set[int], set[int]]:
    """Returns the atoms that hang on `root` and the blocked ones that they are bound to."""
    walls = blocked if isinstance(blocked, (set, frozenset)) else set(blocked)
    inside, touched, front = {root}, set(), [root]
    while front:
        for other in molecule.near(front.pop()):
            if other in walls:
                touched.add(other)
            elif other not in inside:
                inside.add(other)
                front.append(other)
    return inside, touched


def n_cap(molecule: ValenceGraph, backbone: PeptideBackbone, blocked: set[int]) -> int | None:
    """Returns the carbonyl carbon of an acyl group on the nitrogen, None if there is none.

    The acyl group must hang on the nitrogen only, by one bond (a ring closes by two), through a
    carbonyl that has one more bond.
    """
    for carbon in molecule.heavy(backbone.n):
        if carbon in blocked or molecule.numbers[carbon] != 6:
            continue
        if molecule.oxo(carbon) and len(molecule.near(carbon)) == 3:
            inside, touched = branch(molecule, carbon, blocked)
            if touched == {backbone.n} and len(inside.intersection(molecule.near(backbone.n))) == 1:
                return carbon
    return None


def c_cap(molecule: ValenceGraph, backbone: PeptideBackbone, blocked: set[int]) -> int | None:
    """Returns the nitrogen of an amide group on the carbonyl that hangs on nothing else.

    What is on that nitrogen must be bound to it through carbon.
    """
    atom = backbone.after
    if atom is None or atom in blocked or molecule.numbers[atom] != 7:
        return None
    _, touched = branch(molecule, atom, blocked)
    roots = [n for n in molecule.heavy(atom) if n != backbone.c]
    return (
        atom if touched == {backbone.c} and all(molecule.numbers[r] == 6 for r in roots) else None
    )


def is_methyl(molecule: ValenceGraph, atom: int) -> bool:
    """Tells whether an atom is the carbon of a CH3."""
    return bool(molecule.numbers[atom] == 6) and len(molecule.hydrogens(atom)) == 3


def _candidates(molecule: ValenceGraph) -> list[PeptideBackbone]:
    found = []
    numbers, valences = molecule.numbers, molecule.valences
    for c in np.flatnonzero(numbers == 6).tolist():
        oxygens = molecule.oxo(c)
        if not oxygens or len(molecule.near(c)) != 3:
            continue
        others = [n for n in molecule.near(c) if n not in oxygens]
        alphas = [n for n in others if numbers[n] == 6]
        after = [n for n in others if n not in alphas]
        if len(alphas) != 1 or len(after) > 1 or (after and numbers[after[0]] not in (1, 7, 8, 16)):
            continue
        ca = alphas[0]
        if not valences.single(ca, c):
            continue
        unsaturated = [n for n in molecule.near(ca) if not valences.single(ca, n)]
        if any(molecule.graph.in_same_ring(ca, n) for n in unsaturated):
            continue
        for n in molecule.near(ca):
            if numbers[n] != 7 or len(molecule.near(n)) < 3:
                continue
            if all(valences.single(n, other) for other in molecule.near(n)):
                found.append(
                    PeptideBackbone(
                        n=n, ca=ca, c=c, oxygens=tuple(oxygens), after=after[0] if after else None
                    )
                )
    return found


def _unambiguous(found: list[PeptideBackbone]) -> list[PeptideBackbone]:
    """Drops backbones that share atoms, except the only one of a group that a chain goes on in."""
    nitrogens = {b.n for b in found}
    users: dict[int, list[PeptideBackbone]] = {}
    for backbone in found:
        for atom in (backbone.n, backbone.ca, backbone.c):
            users.setdefault(atom, []).append(backbone)
    kept = []
    for backbone in found:
        rivals = {
            id(rival): rival
            for atom in (backbone.n, backbone.ca, backbone.c)
            for rival in users[atom]
        }
        onward = [rival for rival in rivals.values() if rival.after in nitrogens]
        if len(rivals) == 1 or (len(onward) == 1 and onward[0] is backbone):
            kept.append(backbone)
    return kept


def _link(found: list[PeptideBackbone], molecule: ValenceGraph) -> list[Strand]:
    """Joins backbones by peptide bonds; a nitrogen with two carbonyls starts a strand."""
    by_n = {b.n: k for k, b in enumerate(found)}
    before: dict[int, list[int]] = {}
    for k, backbone in enumerate(found):
        if backbone.after is not None and by_n.get(backbone.after, k) != k:
            before.setdefault(by_n[backbone.after], []).append(k)
    onward = {ends[0]: k for k, ends in before.items() if len(ends) == 1}
    started = set(onward.values())
    order = sorted(range(len(found)), key=lambda k: (k in started, found[k].n))
    strands, seen = [], set()
    for start in order:
        if start in seen:
            continue
        run, k = [], start
        while k not in seen:
            seen.add(k)
            run.append(k)
            k = onward.get(k, k)
        cyclic = len(run) > 1 and onward.get(run[-1]) == start
        strands.append(Strand(backbones=tuple(found[k] for k in run), cyclic=cyclic))
    return strands


def _is_peptide(strand: Strand, molecule: ValenceGraph, blocked: set[int]) -> bool:
    if strand.cyclic:
        return len(strand.backbones) >= SMALLEST_RING
    if len(strand.backbones) > 1:
        return True
    (backbone,) = strand.backbones
    front, back = n_cap(molecule, backbone, blocked), c_cap(molecule, backbone, blocked)
    if front is None and back is None:
        return False
    return _known_front(molecule, backbone, front) and _known_back(molecule, backbone, back)


def _known_front(molecule: ValenceGraph, backbone: PeptideBackbone, cap: int | None) -> bool:
    if cap is not None:
        rest = [n for n in molecule.near(cap) if n != backbone.n and molecule.numbers[n] != 8]
        return all(molecule.numbers[n] == 1 or is_methyl(molecule, n) for n in rest)
    ring = [n for n in molecule.heavy(backbone.n) if n != backbone.ca]
    return all(molecule.graph.in_same_ring(backbone.n, n, 5) for n in ring)


def _known_back(molecule: ValenceGraph, backbone: PeptideBackbone, cap: int | None) -> bool:
    if cap is not None:
        return all(n == backbone.c or is_methyl(molecule, n) for n in molecule.heavy(cap))
    after = backbone.after
    if after is None:
        return True
    return bool(molecule.numbers[after] == 8) and len(molecule.hydrogens(after)) == 1


@dataclass(kw_only=True)
class Part:
    """A unit before merging: atoms of one role, and the residues that they belong to."""

    kind: UnitKind
    atoms: list[int]
    residues: list[int] = field(default_factory=list)


@dataclass(kw_only=True)
class ResidueBuilder:
    """A residue before merging.

    Attributes:
        kind: as of `Residue`.
        anchor: the atom whose label is the residue's.
        roles: part of each role.
        backbone: of an amino acid.
    """

    kind: ResidueKind
    anchor: int
    roles: dict[UnitKind, int] = field(default_factory=dict)
    backbone: PeptideBackbone | None = None
