"""Bond orders and formal charges from which atoms are bound to which, atom by atom."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from tlpot.errors import GeometryError, ValenceError
from tlpot.numbers import Bools, Floats, Ints
from tlpot.topology.bonds import (
    COVALENT,
    HALOGENS,
    ION_CHARGES,
    BondGraph,
    atom_name,
    geometry_error,
)

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

MOST_STATES = 200_000

Options = tuple[tuple[int, int], ...]
"""What an atom may be: (extra bond orders, cost) pairs."""


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

    numbers: Ints
    graph: BondGraph
    relaxed: bool = False
    pyramidal: Bools = field(init=False)
    bent: Bools = field(init=False)

    def __post_init__(self) -> None:
        rows: list[list[Floats]] = [[] for _ in self.numbers]
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


@lru_cache(maxsize=4096)
def cheapest_orders(
    options: tuple[Options, ...], edges: tuple[tuple[int, int], ...]
) -> tuple[int, ...]:
    """Returns the extra order (0, 1 or 2) of each bond that costs least in all.

    Exact dynamic programming over the bonds in the given order: an atom is priced when its
    last bond is set, so the table holds only the atoms at the front. With atoms numbered
    breadth first and bonds sorted by their later atom, the front of a molecule is narrow.

    `options` is what each atom may be; anything else is forbidden.

    Raises:
        GeometryError: the front is too wide (a sheet of graphene).
    """
    last = {}
    for index, (a, b) in enumerate(edges):
        last[a] = last[b] = index
    prices = [dict(option) for option in options]
    most = [max(price) for price in prices]
    empty: tuple = ()
    table: dict[tuple[int, ...], tuple[int, tuple]] = {(0,) * len(options): (0, empty)}
    for index, (a, b) in enumerate(edges):
        closing = [atom for atom in (a, b) if last[atom] == index]
        new: dict[tuple[int, ...], tuple[int, tuple]] = {}
        for state, (cost, path) in table.items():
            for order in range(min(2, most[a] - state[a], most[b] - state[b]) + 1):
                after = list(state)
                after[a] += order
                after[b] += order
                total: int | None = cost
                for atom in closing:
                    price = prices[atom].get(after[atom])
                    total = None if price is None or total is None else total + price
                    after[atom] = 0
                if total is None:
                    continue
                key = tuple(after)
                if key not in new or total < new[key][0]:
                    new[key] = (total, (path, order))
        if len(new) > MOST_STATES:
            raise GeometryError(
                f"a conjugated system of {len(options)} atoms is too wide for an assignment of "
                "double bonds; fragments of sheets and tubes are not supported"
            )
        table = new
    _, path = min(table.values(), key=lambda entry: entry[0])
    orders = []
    while path:
        path, order = path
        orders.append(order)
    return tuple(reversed(orders))


@dataclass(frozen=True, kw_only=True)
class Valences:
    """One Lewis structure.

    Attributes:
        charges: [n_atoms], formal charges, e.
        extra: bond order minus one of each bond that is not single; the smaller index first.
    """

    charges: Ints
    extra: dict[tuple[int, int], int]

    def single(self, a: int, b: int) -> bool:
        """Tells whether a bond is single in this Lewis structure."""
        return (min(a, b), max(a, b)) not in self.extra


def close_valences(
    numbers: Ints, graph: BondGraph, labels: Sequence[str] | None = None, charge: int | None = None
) -> Valences:
    """Finds bond orders and formal charges that close every valence.

    Args:
        numbers: [n_atoms], atomic numbers.
        graph: the bonds.
        labels: a name of each atom's residue, for messages.
        charge: total charge that was stated. It is compared with what is found; and where it
            is stated, alkoxides, hydroxide, enolates and amide anions are believed too, which
            otherwise are refused because a hydrogen is missing far more often.

    Raises:
        ValenceError: valences do not close (the atoms are listed), or a lone atom is no known ion.
        GeometryError: the charge is not the stated one.
    """
    around = Surroundings(numbers=numbers, graph=graph)
    found, wrong = _assign(around)
    if wrong and charge is not None:
        looser, still = _assign(Surroundings(numbers=numbers, graph=graph, relaxed=True))
        if not still and int(looser.charges.sum()) == charge:
            return looser
    if wrong:
        raise _refuse(wrong, around, labels)
    total = int(found.charges.sum())
    if charge is not None and total != charge:
        charged = np.flatnonzero(found.charges)
        lines = [
            f"atom {atom_name(int(k), numbers, labels)}: {found.charges[k]:+d}" for k in charged
        ]
        raise geometry_error(
            f"the stated charge is {charge:+d}, but the formal charges add up to {total:+d}",
            lines or ["no atom has a formal charge"],
            "Are hydrogens missing, is a metal in an unusual oxidation state, or is the stated "
            "charge (atoms.info['charge']) wrong?",
        )
    return found


def _assign(around: Surroundings) -> tuple[Valences, list[int]]:
    """Returns the best Lewis structure and the atoms whose valence it leaves open."""
    numbers, neighbors = around.numbers, around.graph.neighbors
    covalent = np.isin(numbers, list(COVALENT))
    ways = [
        closures(around, atom) if covalent[atom] or not neighbors[atom] else {}
        for atom in range(len(numbers))
    ]
    unsaturated = {a for a, way in enumerate(ways) if max(way, default=0) > 0}
    unsaturated = {a for a in unsaturated if any(b in unsaturated for b in neighbors[a])}
    extra: dict[tuple[int, int], int] = {}
    gained = np.zeros(len(numbers), dtype=np.int64)
    for members in _components(unsaturated, neighbors):
        place = {atom: k for k, atom in enumerate(members)}
        edges = [
            (place[b], place[a])
            for a in members
            for b in neighbors[a]
            if place.get(b, 1e9) < place[a]
        ]
        options = tuple(_priced(ways[atom]) for atom in members)
        for (a, b), order in zip(edges, cheapest_orders(options, tuple(edges)), strict=True):
            if order:
                i, j = sorted((members[a], members[b]))
                extra[i, j] = order
                gained[[i, j]] += order
    charges = np.zeros(len(numbers), dtype=np.int64)
    wrong = []
    for atom, way in enumerate(ways):
        if int(gained[atom]) in way:
            charges[atom] = way[int(gained[atom])][1]
        else:
            wrong.append(atom)
    found = Valences(charges=charges, extra=extra)
    if not around.relaxed:
        wrong = sorted({*wrong, *_implausible(around, found)})
    return found, wrong


def _priced(way: Closures) -> tuple[tuple[int, int], ...]:
    """Adds to the ways in which a valence closes those in which it does not, at a high cost."""
    prices = dict.fromkeys(range(max(way) + 1), OPEN)
    prices.update({extra: cost for extra, (cost, _) in way.items()})
    return tuple(sorted(prices.items()))


def _components(atoms: set[int], neighbors: tuple[tuple[int, ...], ...]) -> list[list[int]]:
    """Returns connected parts of a set of atoms, each breadth first."""
    found, seen = [], set()
    for start in sorted(atoms):
        if start in seen:
            continue
        seen.add(start)
        members, queue = [], deque([start])
        while queue:
            atom = queue.popleft()
            members.append(atom)
            for other in neighbors[atom]:
                if other in atoms and other not in seen:
                    seen.add(other)
                    queue.append(other)
        found.append(members)
    return found


def _implausible(around: Surroundings, found: Valences) -> list[int]:
    """Returns atoms whose valence closes only in a way that a missing hydrogen explains better.

    These are enolates and amide anions (C=C-O-, N=C-O- outside of rings), N-acyliminium ions
    and oxoammonium ions, all of which a carbon radical beside an amide, or a nitroxide, would
    be taken for.
    """
    numbers, neighbors = around.numbers, around.graph.neighbors
    partners: dict[int, list[int]] = {}
    for a, b in found.extra:
        partners.setdefault(a, []).append(b)
        partners.setdefault(b, []).append(a)
    wrong = []
    for atom in np.flatnonzero(found.charges).tolist():
        near = neighbors[atom]
        if numbers[atom] == 8 and found.charges[atom] == -1 and len(near) == 1:
            if atom in around.graph.ligands:
                continue
            for other in partners.get(near[0], []):
                enol = numbers[other] == 6 or (numbers[other] == 7 and len(neighbors[other]) == 2)
                ring = around.graph.in_same_ring(near[0], other)
                if numbers[near[0]] == 6 and enol and not ring:
                    wrong.append(other)
        elif numbers[atom] == 7 and found.charges[atom] == 1:
            for other in partners.get(atom, []):
                if numbers[other] == 8 and len(near) == 3:
                    anions = [n for n in near if n != other and found.charges[n] == -1]
                    wrong += [] if anions else [other]
                elif numbers[other] == 6 and len(near) == 3:
                    hetero = [n for n in neighbors[other] if n != atom and numbers[n] in (7, 8, 16)]
                    acyl = any(
                        numbers[n] == 6 and any(numbers[p] == 8 for p in partners.get(n, []))
                        for n in near
                        if n != other
                    )
                    if acyl and not hetero and not around.graph.in_same_ring(atom, other, 6):
                        wrong.append(other)
    return wrong


def _lacks(around: Surroundings, atom: int) -> bool:
    """Tells whether an atom with an open valence seems to lack neighbours, see `ValenceError`."""
    if atom in around.graph.ligands:
        return False
    number, near = int(around.numbers[atom]), len(around.graph.neighbors[atom])
    if number == 6:
        return (
            near < 2 or (near == 2 and around.bent[atom]) or (near == 3 and around.pyramidal[atom])
        )
    return near < {1: 1, 7: 3, 8: 2, 16: 2, 34: 2}.get(number, 0)


def _refuse(wrong: list[int], around: Surroundings, labels: Sequence[str] | None) -> ValenceError:
    numbers, graph = around.numbers, around.graph
    lines = []
    for atom in wrong:
        near = [atom_name(other, numbers, None) for other in graph.neighbors[atom]]
        beside = f"bound to {', '.join(near)}" if near else "bound to nothing"
        expected = EXPECTED.get(int(numbers[atom]), "a closed shell")
        lines.append(f"atom {atom_name(atom, numbers, labels)} {beside}; expected {expected}")
    count = f"{len(wrong)} atoms do" if len(wrong) > 1 else "1 atom does"
    error = geometry_error(
        f"{count} not close the valence",
        lines,
        "Hydrogens or heavy atoms are missing, atoms overlap, an element is wrong, or it is a "
        "radical (not supported). `tlpot fragment --prepare` adds what is missing from a protein.",
    )
    return ValenceError(str(error), [atom for atom in wrong if _lacks(around, atom)])
