"""How the valence of one atom may close: extra bond orders, formal charge, cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tlpot.topology.bonds import HALOGENS, ION_CHARGES, BondGraph

OPEN = 1000
"""Cost of a valence that does not close; what has it in the best assignment is refused."""

PYRAMIDAL = 0.55
"""Triple product of the unit vectors to three neighbours: 0 if planar, 0.77 if tetrahedral."""
BENT = -0.77
"""Cosine of 140 degrees: a carbon with two neighbours is linear, or lacks atoms."""

EXPECTED = {
    1: "1 bond",
    5: "3 bonds, or 4 with charge -1",
    6: "4 bonds (three neighbours only if planar, two only if linear)",
    7: "3 bonds, or 4 with charge +1",
    8: "2 bonds, or 1 and charge -1 beside an unsaturated atom",
    15: "3 or 5 bonds",
    16: "2, 4 or 6 bonds, or 1 with charge -1",
}

SHORT = {6: 1.44, 7: 1.40, 8: 1.32}
"""Å; a carbon this near to another atom is unsaturated, even if its hydrogen is out of place."""

Closures = dict[int, tuple[int, int]]
"""Extra bond orders -> (cost, formal charge)."""


@dataclass(kw_only=True)
class Surroundings:
    """What decides which valences are plausible.

    Attributes:
        numbers: [n_atoms].
        graph: the bonds.
        relaxed: also allow what usually means a missing hydrogen: alkoxide, hydroxide, amide
            anions, enolates. Only where the total charge is stated and can be checked.
        pyramidal: atoms with three neighbours that are not in a plane with them.
        bent: atoms with two neighbours that are not in a line with them.
    """

    numbers: NDArray[np.int64]
    graph: BondGraph
    relaxed: bool = False
    pyramidal: NDArray[np.bool_] = field(init=False)
    bent: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        rows: list[list[NDArray[np.float64]]] = [[] for _ in self.numbers]
        lengths = np.linalg.norm(self.graph.vectors, axis=1, keepdims=True)
        units = self.graph.vectors / lengths
        for (a, b), unit in zip(self.graph.pairs.tolist(), units, strict=True):
            if a not in self.graph.ligands or b not in self.graph.ligands[a]:
                rows[a].append(unit)
                rows[b].append(-unit)
        self.pyramidal = np.zeros(len(rows), dtype=bool)
        self.bent = np.zeros(len(rows), dtype=bool)
        three = [k for k, row in enumerate(rows) if len(row) == 3]
        two = [k for k, row in enumerate(rows) if len(row) == 2]
        if three:
            frames = np.array([rows[k] for k in three])
            self.pyramidal[three] = np.abs(np.linalg.det(frames)) > PYRAMIDAL
        first, second = self.numbers[self.graph.pairs].T
        for element, reach in SHORT.items():
            near = lengths[:, 0] < reach
            for ends in ((0, 1), (1, 0)):
                a, b = (first, second) if ends == (0, 1) else (second, first)
                flat = near & (a == 6) & (b == element)
                self.pyramidal[self.graph.pairs[flat, ends[0]]] = False
        if two:
            arms = np.array([rows[k] for k in two])
            self.bent[two] = np.einsum("ij,ij->i", arms[:, 0], arms[:, 1]) > BENT

    def elements(self, atom: int) -> list[int]:
        """Returns the atomic numbers of the covalent neighbours."""
        return [int(self.numbers[other]) for other in self.graph.neighbors[atom]]


def closures(around: Surroundings, atom: int) -> Closures:
    """Returns the ways in which the valence of an atom may close; empty if there are none.

    Costs only order the alternatives: neutral before charged, and among charged forms those
    that chemists draw (nitro as N+ and O-, azide with the charge at its end).
    """
    number = int(around.numbers[atom])
    near = around.elements(atom)
    if not near and number not in (8, 16, 34, 52):
        lone = -1 if number in HALOGENS else ION_CHARGES.get(number)
        return {} if lone is None else {0: (0, lone)}
    by_element = {6: _carbon, 7: _nitrogen, 8: _oxygen}
    if number in by_element:
        return by_element[number](around, atom, near)
    if number in (16, 34, 52):
        return _sulfur(around, atom, near)
    table: dict[int, Closures]
    if number in (15, 33):
        table = {
            1: {2: (0, 0)},
            2: {1: (0, 0)},
            3: {0: (0, 0), 2: (6, 0)},
            4: {1: (0, 0), 0: (8, 1)},
            5: {0: (0, 0)},
            6: {0: (10, -1)},
        }
    elif number == 5:
        table = {3: {0: (0, 0)}, 4: {0: (8, -1)}}
    elif number in (14, 32):
        table = {4: {0: (0, 0)}, 3: {1: (0, 0)}}
    elif number in HALOGENS and number != 9:
        table = {1: {0: (0, 0)}, 3: {2: (0, 0)}, 4: {3: (0, 0)}}
    else:
        table = {1: {0: (0, 0)}}
    return table.get(len(near), {})


def _carbon(around: Surroundings, atom: int, near: list[int]) -> Closures:
    if len(near) == 4:
        return {0: (0, 0)}
    if len(near) == 3 and not around.pyramidal[atom]:
        return {1: (0, 0)}
    if len(near) == 2 and not around.bent[atom]:
        return {2: (0, 0)}
    if len(near) == 1 and near[0] in (6, 7, 8):
        return {2: (12, -1)}
    return {}


def _nitrogen(around: Surroundings, atom: int, near: list[int]) -> Closures:
    if len(near) == 4:
        return {0: (8, 1)}
    if len(near) == 3:
        return {0: (0, 0), 1: (14 if _acylated(around, atom) else 8, 1)}
    if len(near) == 2:
        found: Closures = {1: (0, 0)}
        if not around.bent[atom]:
            found[2] = (8, 1)
        sulfonyl = any(
            around.numbers[n] == 16 and len(around.graph.neighbors[n]) == 4
            for n in around.graph.neighbors[atom]
        )
        if atom in around.graph.ligands or sulfonyl or _azolate(around, atom):
            found[0] = (11, -1)
        elif around.relaxed:
            found[0] = (30, -1)
        return found
    if len(near) == 1:
        return {2: (0, 0), 1: (11, -1)} if near[0] == 7 else {2: (0, 0)}
    return {}


def _acylated(around: Surroundings, atom: int) -> bool:
    """Tells whether a nitrogen is beside a carbonyl, which gives up no electrons to it."""
    return any(
        around.numbers[carbon] == 6
        and len(around.graph.neighbors[carbon]) == 3
        and any(
            around.numbers[other] == 8 and len(around.graph.neighbors[other]) == 1
            for other in around.graph.neighbors[carbon]
        )
        for carbon in around.graph.neighbors[atom]
    )


def _azolate(around: Surroundings, atom: int) -> bool:
    """Tells whether a bare nitrogen is in a ring acid enough to be an anion.

    Triazoles and tetrazoles are; imidazole, pyrazole and indole are not, unless at a metal.
    """
    near = around.graph.neighbors[atom]
    flat = all(len(around.graph.neighbors[n]) <= 3 and not around.pyramidal[n] for n in near)
    if not flat or 1 in around.elements(atom) or not around.graph.in_ring(atom, 5):
        return False
    beyond = {n for other in near for n in around.graph.neighbors[other]} | set(near)
    return sum(int(around.numbers[n] == 7) for n in beyond - {atom}) >= 2


def _oxygen(around: Surroundings, atom: int, near: list[int]) -> Closures:
    coordinated = atom in around.graph.ligands
    if not near:
        return {0: (20, -2)} if coordinated else {}
    if len(near) == 3:
        return {0: (12, 1)} if around.relaxed or near.count(1) >= 2 else {}
    if len(near) == 2:
        pyrylium = 1 not in near and all(
            len(around.graph.neighbors[n]) == 3 and not around.pyramidal[n]
            for n in around.graph.neighbors[atom]
        )
        if pyrylium and around.graph.in_ring(atom, 6):
            return {0: (0, 0), 1: (12, 1)}
        return {0: (0, 0)}
    if len(near) > 3:
        return {}
    found: Closures = {1: (0, 0)}
    host = around.graph.neighbors[atom][0]
    degree = len(around.graph.neighbors[host])
    if near[0] == 6 and degree == 1:
        found[2] = (12, 1)
    unsaturated = near[0] == 6 and (
        (degree == 3 and not around.pyramidal[host]) or (degree == 2 and not around.bent[host])
    )
    anion = unsaturated or (near[0] == 7 and degree > 1) or near[0] in (5, 14, 15, 16, 17, 33, 34)
    if anion or coordinated or near[0] in HALOGENS:
        found[0] = (10, -1)
    elif around.relaxed:
        found[0] = (30, -1)
    return found


def _sulfur(around: Surroundings, atom: int, near: list[int]) -> Closures:
    if not near:
        return {0: (20, -2)} if atom in around.graph.ligands else {}
    table: dict[int, Closures] = {
        1: {1: (0, 0), 0: (9, -1)},
        2: {0: (0, 0), 2: (6, 0)},
        3: {1: (0, 0), 0: (8, 1), 3: (6, 0)},
        4: {2: (0, 0), 0: (5, 0)},
        5: {1: (0, 0)},
        6: {0: (0, 0)},
    }
    return table.get(len(near), {})
