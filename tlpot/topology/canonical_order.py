"""An order of the atoms of a molecule that depends on its bonds alone.

Colours of atoms are refined by those of their neighbours until nothing changes (Morgan,
doi:10.1021/c160017a018; Weisfeiler and Leman). Atoms that still look alike are told apart
arbitrarily, one at a time. In nearly all molecules these are equivalent by symmetry, and any
choice gives the same bonded graph; where it does not, `matching_order` searches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np

from tlpot.numbers import Ints


class ColouredGraph:
    """A molecular graph whose atoms have colours.

    Args:
        labels: of each atom: what tells it from others by itself, such as its element. Labels
            must be sortable and of one type.
        bonds: [n_bonds, 2].
    """

    def __init__(self, labels: Sequence[tuple[int, ...]], bonds: Ints) -> None:
        self.labels = [tuple(int(x) for x in label) for label in labels]
        self.bonds = bonds
        self.neighbors: list[list[int]] = [[] for _ in labels]
        for a, b in bonds.tolist():
            self.neighbors[a].append(b)
            self.neighbors[b].append(a)
        self._start = [(label, self._shells(atom)) for atom, label in enumerate(self.labels)]
        self.colours = self.refined(_ranks(self._start))
        """[n], 0, 1, ...: equal in equivalent atoms of equal graphs, wherever they come from."""

    def refined(self, colours: list[int]) -> list[int]:
        """Tells atoms apart by the colours of their neighbours until that changes nothing."""
        count = len(set(colours))
        while True:
            signs = [
                (colour, tuple(sorted(colours[b] for b in near)))
                for colour, near in zip(colours, self.neighbors, strict=True)
            ]
            colours = _ranks(signs)
            found = len(set(colours))
            if found == count:
                return colours
            count = found

    def order(self) -> list[int]:
        """Returns the atoms in canonical order; of those that look alike, the first goes first."""
        colours = self.colours
        while True:
            tied = self._tied(colours)
            if tied is None:
                # what is left are leaves of the same atom
                return sorted(range(len(colours)), key=colours.__getitem__)
            colours = [2 * colour + 1 for colour in colours]
            colours[tied] -= 1
            colours = self.refined(_ranks([(colour, ()) for colour in colours]))

    def sorted_bonds(self, order: Sequence[int]) -> Ints:
        """Returns the bonds, [n_bonds, 2], with atoms numbered by their place in an order."""
        place = np.empty(len(order), dtype=np.int64)
        place[list(order)] = np.arange(len(order))
        bonds = np.sort(place[self.bonds.reshape(-1, 2)], axis=1)
        return bonds[np.lexsort((bonds[:, 1], bonds[:, 0]))]

    def digest(self, *more: Hashable) -> str:
        """Returns a hash of the refined graph and of `more`, the same for equal graphs.

        It is over the colour classes: how many atoms each has, the labels that they see around
        them, bond by bond, and their neighbours' colours.
        """
        classes: dict[int, tuple] = {}
        sizes: dict[int, int] = {}
        for atom, colour in enumerate(self.colours):
            sizes[colour] = sizes.get(colour, 0) + 1
            near = sorted(self.colours[b] for b in self.neighbors[atom])
            classes[colour] = self._start[atom], near
        text = repr((more, [(sizes[c], classes[c]) for c in sorted(classes)]))
        return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()

    def _shells(self, atom: int) -> tuple[tuple[int, ...], ...]:
        """The labels of the atoms that are one bond away, two bonds away, ..."""
        seen, front, shells = {atom}, [atom], []
        while front:
            reached = {b for a in front for b in self.neighbors[a]} - seen
            seen |= reached
            front = list(reached)
            shells.append(tuple(x for b in sorted(self.labels[b] for b in front) for x in b))
        return tuple(shells)

    def _tied(self, colours: list[int]) -> int | None:
        """An atom of the first class with several, leaves apart: they follow their neighbour."""
        first: dict[int, int] = {}
        worst = None
        for atom, colour in enumerate(colours):
            if colour not in first:
                first[colour] = atom
            elif not self._is_leaf(atom) and (worst is None or colour < worst):
                worst = colour
        return None if worst is None else first[worst]

    def _is_leaf(self, atom: int) -> bool:
        near = self.neighbors[atom]
        return len(near) == 1 and len(self.neighbors[near[0]]) > 1


def matching_order(graph: ColouredGraph, reference: ColouredGraph) -> list[int] | None:
    """Returns the atom of `graph` for each atom of `reference`, or None if the graphs differ.

    The canonical order of `graph` where that has the bonds of the reference as it is numbered;
    otherwise what a search finds.
    """
    n = len(graph.labels)
    if n != len(reference.labels) or len(graph.bonds) != len(reference.bonds):
        return None
    order = graph.order()
    same = [graph.labels[atom] for atom in order] == reference.labels
    wanted = reference.sorted_bonds(range(n))
    if same and np.array_equal(graph.sorted_bonds(order), wanted):
        return order
    found = _search(graph, reference)
    if found is not None and not np.array_equal(graph.sorted_bonds(found), wanted):
        raise AssertionError("a match with other bonds")
    return found


def _search(graph: ColouredGraph, reference: ColouredGraph) -> list[int] | None:
    """Maps atom by atom along bonds, and goes back where it does not fit."""
    if sorted(graph.colours) != sorted(reference.colours):
        return None
    members: dict[int, list[int]] = {}
    for atom, colour in enumerate(graph.colours):
        members.setdefault(colour, []).append(atom)
    sequence = _along_bonds(reference, members)
    bound = [set(near) for near in graph.neighbors]
    image: dict[int, int] = {}
    used: set[int] = set()
    stack = [iter(members[reference.colours[sequence[0]]])] if sequence else []
    while stack:
        atom = sequence[len(stack) - 1]
        used.discard(image.pop(atom, -1))
        known = [image[b] for b in reference.neighbors[atom] if b in image]
        for candidate in stack[-1]:
            if candidate in used or not bound[candidate].issuperset(known):
                continue
            if len(bound[candidate] & used) == len(known):
                break
        else:
            stack.pop()
            continue
        image[atom] = candidate
        used.add(candidate)
        if len(image) == len(sequence):
            return [image[a] for a in range(len(sequence))]
        stack.append(iter(members[reference.colours[sequence[len(stack)]]]))
    return [] if not sequence else None


def _along_bonds(graph: ColouredGraph, members: dict[int, list[int]]) -> list[int]:
    """The atoms so that each, where possible, is bound to an earlier one."""
    rarity = sorted(range(len(graph.labels)), key=lambda a: len(members[graph.colours[a]]))
    sequence: list[int] = []
    seen: set[int] = set()
    for start in rarity:
        queue = [start]
        for atom in queue:
            if atom not in seen:
                seen.add(atom)
                sequence.append(atom)
                queue += [b for b in graph.neighbors[atom] if b not in seen]
    return sequence


def _ranks(signs: Sequence[tuple]) -> list[int]:
    place = {sign: k for k, sign in enumerate(sorted(set(signs)))}
    return [place[sign] for sign in signs]
