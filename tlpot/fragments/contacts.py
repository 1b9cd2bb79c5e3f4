"""Which units are close to each other, in linear time, images included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import vesin

from tlpot.errors import GeometryError
from tlpot.numbers import Bools, Floats, Ints
from tlpot.topology import Lattice, Topology

if TYPE_CHECKING:
    from scipy import sparse


Shift = tuple[int, int, int]
"""Of an image, in lattice vectors."""

HOME: Shift = (0, 0, 0)
_SPAN = 4096
"""Images along a direction that have a number."""


class Images:
    """Gives unit u of image n the number u + n_units · code(n), which for the home image is u.

    Args:
        n_units: of the structure.
    """

    def __init__(self, n_units: int) -> None:
        self.n_units = n_units

    def has_others(self, units: Iterable[int]) -> bool:
        """Tells whether not all units are at home."""
        return max(units, default=0) >= self.n_units

    def moved(self, units: frozenset[int], shift: Shift) -> frozenset[int]:
        """Returns the image of some units.

        Raises:
            GeometryError: it is thousands of cells away.
        """
        if shift == HOME:
            return units
        n = self.n_units
        found = set()
        for number in units:
            code, unit = divmod(number, n)
            x, y, z = _decoded(code)
            found.add(unit + n * _encoded((x + shift[0], y + shift[1], z + shift[2])))
        return frozenset(found)

    def canonical(self, units: frozenset[int]) -> frozenset[int]:
        """Returns the same set for all images of a set: its first unit is at home."""
        if not self.has_others(units):
            return units
        _, (x, y, z) = min((k % self.n_units, _decoded(k // self.n_units)) for k in units)
        return self.moved(units, (-x, -y, -z))

    def split(self, units: Iterable[int]) -> dict[Shift, frozenset[int]]:
        """Returns the units of each image by their number at home, in order."""
        parts: dict[Shift, set[int]] = {}
        for number in units:
            code, unit = divmod(number, self.n_units)
            parts.setdefault(_decoded(code), set()).add(unit)
        return {shift: frozenset(parts[shift]) for shift in sorted(parts)}

    def place(self, number: int) -> tuple[int, Shift]:
        """Returns the number of a unit at home, and its image."""
        code, unit = divmod(number, self.n_units)
        return unit, _decoded(code)


def difference(a: Shift, b: Shift) -> Shift:
    """Returns a − b."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def opposite(shift: Shift) -> Shift:
    """Returns −a."""
    return -shift[0], -shift[1], -shift[2]


def _encoded(shift: Shift) -> int:
    half = _SPAN // 2
    if not all(-half <= step < half for step in shift):
        raise GeometryError(
            f"two molecules that are close to each other through the periodic boundary are {shift} "
            "cells apart in the coordinates; wrap the atoms into the cell (atoms.wrap())"
        )
    x, y, z = (step % _SPAN for step in shift)
    return (x * _SPAN + y) * _SPAN + z


def _decoded(code: int) -> Shift:
    if code == 0:
        return HOME
    half = _SPAN // 2
    code, z = divmod(code, _SPAN)
    x, y = divmod(code, _SPAN)
    return tuple((step + half) % _SPAN - half for step in (x, y, z))  # type: ignore[return-value]


def close_atoms(positions: Floats, reach: float) -> Ints:
    """Returns the pairs i < j of atoms less than `reach` apart, [n_pairs, 2]."""
    finder = vesin.NeighborList(cutoff=reach, full_list=False)
    i, j = finder.compute(
        points=np.ascontiguousarray(positions),
        box=np.zeros((3, 3)),
        periodic=False,
        quantities="ij",
    )
    return np.stack([i, j], axis=1).astype(np.int64)


def close_images(positions: Floats, reach: float, lattice: Lattice) -> tuple[Ints, Ints]:
    """Returns the pairs of atoms less than `reach` apart, each once, and images of the second.

    Returns:
        The atoms i <= j, [n_pairs, 2], and n of the image j + n, [n_pairs, 3].
    """
    finder = vesin.NeighborList(cutoff=reach, full_list=True)
    i, j, shifts = finder.compute(
        points=np.ascontiguousarray(positions),
        box=lattice.box,
        periodic=lattice.pbc.tolist(),
        quantities="ijS",
    )
    shifts = shifts.astype(np.int64)
    once = (i < j) | ((i == j) & after_home(shifts))
    return np.stack([i, j], axis=1).astype(np.int64)[once], shifts[once]


def close_units(
    topology: Topology, images: Images, positions: Floats, reach: float, lattice: Lattice | None
) -> list[set[int]]:
    """Returns the units less than `reach` Å from each unit at home, by the numbers of `images`."""
    if lattice is None:
        pairs = close_atoms(positions, reach)
        shifts = np.zeros((len(pairs), 3), dtype=np.int64)
    else:
        pairs, shifts = close_images(positions, reach, lattice)
    units = topology.unit_of[pairs]
    found: list[set[int]] = [set() for _ in topology.units]
    for u, v, *shift in np.unique(np.concatenate([units, shifts], axis=1), axis=0).tolist():
        image: Shift = (shift[0], shift[1], shift[2])
        found[u] |= images.moved(frozenset({v}), image)
        found[v] |= images.moved(frozenset({u}), opposite(image))
    return found


def _contacts(topology: Topology, atoms: Ints) -> sparse.csr_array:
    from scipy import sparse

    owner, n_units = topology.unit_of, len(topology.units)
    pairs = owner[atoms]
    own = np.arange(n_units)
    rows = np.concatenate([pairs[:, 0], pairs[:, 1], own])
    columns = np.concatenate([pairs[:, 1], pairs[:, 0], own])
    ones = np.ones(len(rows), dtype=np.int64)
    return sparse.coo_array((ones, (rows, columns)), shape=(n_units, n_units)).tocsr()


def set_pairs(
    sets: list[frozenset[int]], contacts: sparse.csr_array
) -> list[tuple[int, int, bool]]:
    """Returns the pairs a < b of sets that share a unit or touch, and whether they share one."""
    from scipy import sparse

    member = _membership(sets, contacts.shape[0])
    touching = sparse.triu(member @ contacts @ member.T, k=1).tocoo()
    shared = (member @ member.T).tocsr()
    a, b = touching.coords
    common = np.asarray(shared[a, b]).ravel() > 0 if len(a) else np.zeros(0, dtype=bool)
    return sorted(zip(a.tolist(), b.tolist(), common.tolist(), strict=True))


def touching_sets(
    sets: list[frozenset[int]],
    topology: Topology,
    positions: Floats,
    reach: float,
    lattice: Lattice | None = None,
) -> list[tuple[int, int, Shift, bool]]:
    """Returns which sets share a unit or have atoms less than `reach` apart.

    Positions are those of whole molecules, [n_atoms, 3], and `reach` is in Å.

    Returns:
        Each pair once: a <= b, the image of b, and whether they share a unit.
    """
    if lattice is None:
        atoms, shifts = close_atoms(positions, reach), None
    else:
        atoms, shifts = close_images(positions, reach, lattice)
        away = shifts.any(axis=1)
        atoms, far, shifts = atoms[~away], atoms[away], shifts[away]
    home = set_pairs(sets, _contacts(topology, atoms))
    found = [(a, b, HOME, share) for a, b, share in home]
    if shifts is not None and len(shifts):
        found += _through_boundaries(sets, topology, far, shifts)
    return found


def _through_boundaries(
    sets: list[frozenset[int]], topology: Topology, atoms: Ints, shifts: Ints
) -> list[tuple[int, int, Shift, bool]]:
    units = topology.unit_of[atoms]
    found = np.unique(np.concatenate([units, shifts], axis=1), axis=0)
    u, v, shifts = found[:, 0], found[:, 1], found[:, 2:]
    # every set with the one unit meets every set with the other
    table = _membership(sets, len(topology.units)).tocsc()
    n_first, n_second = np.diff(table.indptr)[u], np.diff(table.indptr)[v]
    counts = n_first * n_second
    contact = np.repeat(np.arange(len(u)), counts)
    inner = np.arange(len(contact)) - np.repeat(np.cumsum(counts) - counts, counts)
    a = table.indices[table.indptr[u[contact]] + inner // n_second[contact]].astype(np.int64)
    b = table.indices[table.indptr[v[contact]] + inner % n_second[contact]].astype(np.int64)
    shifts = shifts[contact]
    turn = (a > b) | ((a == b) & ~after_home(shifts))
    a, b = np.where(turn, b, a), np.where(turn, a, b)
    shifts = np.where(turn[:, None], -shifts, shifts)
    pairs = np.unique(np.column_stack([a, b, shifts]), axis=0)
    return [(i, j, (x, y, z), False) for i, j, x, y, z in pairs.tolist()]


def _membership(sets: Sequence[frozenset[int]], n_units: int) -> sparse.csr_array:
    from scipy import sparse

    rows = np.concatenate([np.full(len(s), k) for k, s in enumerate(sets)])
    columns = np.concatenate([np.fromiter(sorted(s), dtype=np.int64) for s in sets])
    ones = np.ones(len(rows), dtype=np.int64)
    return sparse.coo_array((ones, (rows, columns)), shape=(len(sets), n_units)).tocsr()


def after_home(shifts: Ints) -> Bools:
    """Tells which of an image and its opposite comes after home in the order of numbers."""
    x, y, z = shifts.T
    return (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
