"""Overlapping pieces with signs, so that everything counts once, and the proof in whole numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tlpot.errors import GeometryError
from tlpot.fragments.contacts import Images, Shift, difference
from tlpot.fragments.expansion import Expansion
from tlpot.fragments.fragment import Cutter, Units
from tlpot.numbers import Ints


def inclusion_exclusion(primaries: Iterable[Units]) -> dict[Units, int]:
    """Closes a family of sets under intersection and gives each set its coefficient.

    c(S) = 1 − Σ c(T) over the sets T that strictly contain S, so that every element of a
    primary is counted exactly once: the principle of inclusion and exclusion, for overlapping
    fragments as reviewed by Barker et al.,
    doi:10.48550/arXiv.2411.12467. Only sets that share elements are
    compared, so the effort grows with the number of primaries when these are local.

    The order of the sets of units does not matter; empty ones are ignored.

    Returns:
        The coefficient of each set; sets with coefficient 0 are left out.
    """
    by_element = _closed(primaries)
    coefficients: dict[Units, int] = {}
    for units in _largest_first(by_element):
        above = (other for other in _rarest(units, by_element) if units < other)
        coefficients[units] = 1 - sum(coefficients[other] for other in above)
    return {units: c for units, c in coefficients.items() if c}


@dataclass(frozen=True, kw_only=True, slots=True)
class SetLattice:
    """A family of sets that is closed under intersection, as a partially ordered set.

    Attributes:
        sets: its members, large ones first.
        below: of each member x the members c within it, and the Möbius function μ(c, x), which
            inverts sums over members that contain another; those where it is 0 are left out.
        hulls: of each member the union of the primaries that contain it.
    """

    sets: list[Units]
    below: list[list[tuple[int, int]]]
    hulls: list[Units]


def intersection_lattice(primaries: Iterable[Units]) -> SetLattice:
    """Closes a family of sets under intersection and inverts its order.

    The coefficient of a set by `inclusion_exclusion` is the sum of μ(set, x) over all x. Möbius
    function of a partially ordered set: G.-C. Rota, doi:10.1007/BF00531932.
    """
    own = set(primaries)
    by_element = _closed(own)
    sets = _largest_first(by_element)
    number = {units: k for k, units in enumerate(sets)}
    below: list[list[tuple[int, int]]] = []
    for units in sets:
        inside = {other for element in units for other in by_element[element] if other <= units}
        found: dict[int, int] = {}
        for k in sorted(number[other] for other in inside):
            between = (m for j, m in found.items() if sets[k] < sets[j])
            found[k] = -sum(between) if found else 1
        below.append([(k, m) for k, m in found.items() if m])
    hulls = [
        units.union(*(one for one in _rarest(units, by_element) if one in own and units <= one))
        for units in sets
    ]
    return SetLattice(sets=sets, below=below, hulls=hulls)


def _closed(primaries: Iterable[Units]) -> dict[int, list[Units]]:
    """Closes a family of sets under intersection: its members by the elements that they have."""
    closed: set[Units] = set()
    by_element: dict[int, list[Units]] = {}

    def add(units: Units) -> bool:
        if not units or units in closed:
            return False
        closed.add(units)
        for element in units:
            by_element.setdefault(element, []).append(units)
        return True

    waiting = [units for units in primaries if add(units)]
    while waiting:
        units = waiting.pop()
        met = {other for element in units for other in by_element[element]}
        waiting += [common for other in met if add(common := units & other)]
    return by_element


def _largest_first(by_element: dict[int, list[Units]]) -> list[Units]:
    members = {units for some in by_element.values() for units in some}
    return sorted(members, key=lambda s: (-len(s), sorted(s)))


def _rarest(units: Units, by_element: dict[int, list[Units]]) -> list[Units]:
    return by_element[min(units, key=lambda element: len(by_element[element]))]


def periodic_inclusion_exclusion(primaries: Iterable[Units], images: Images) -> dict[Units, int]:
    """Does the same for a family that goes on and on with all its periodic images.

    Sets are compared in every way in which an image of one shares elements with the other, so
    one set may contain another several times. Each set stands for all of its images.

    Returns:
        The coefficient of each set; sets with coefficient 0 are left out.
    """
    closed: set[Units] = set()
    by_unit: dict[int, list[tuple[Units, Shift]]] = {}

    def add(units: Units) -> bool:
        if not units or units in closed:
            return False
        closed.add(units)
        for number in units:
            unit, shift = images.place(number)
            by_unit.setdefault(unit, []).append((units, shift))
        return True

    def meeting(number: int) -> set[Units]:
        unit, shift = images.place(number)
        return {images.moved(other, difference(shift, own)) for other, own in by_unit[unit]}

    waiting = [units for one in primaries if add(units := images.canonical(one))]
    while waiting:
        units = waiting.pop()
        met = {other for number in units for other in meeting(number)}
        waiting += [common for other in met if add(common := images.canonical(units & other))]

    coefficients: dict[Units, int] = {}
    for units in sorted(closed, key=lambda s: (-len(s), sorted(s))):
        rarest = min(units, key=lambda number: len(by_unit[images.place(number)[0]]))
        above = (images.canonical(other) for other in meeting(rarest) if units < other)
        coefficients[units] = 1 - sum(coefficients[other] for other in above)
    return {units: c for units, c in coefficients.items() if c}


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """How often an expansion counts what a structure has, with all pair weights 1.

    Attributes:
        atoms: [n_atoms], 1 each.
        bonds: [n_bonds], 1 each.
        caps: net number of cap atoms of each cut bond and side, 0 each.
        charge: the total charge.
    """

    atoms: Ints
    bonds: Ints
    caps: Ints
    charge: int


def coverage(cutter: Cutter, expansion: Expansion) -> Coverage:
    """Counts atoms, bonds, caps and charge."""
    topology = cutter.topology
    whole = np.rint(expansion.coefficients()).astype(np.int64)
    atoms = np.zeros(len(topology.atomic_numbers), dtype=np.int64)
    bonds = np.zeros(len(topology.bonds), dtype=np.int64)
    caps: dict[tuple[int, int], int] = {}
    charge = 0
    inside = np.zeros(len(atoms), dtype=bool)
    for units, c in zip(expansion.sets, whole.tolist(), strict=True):
        fragment = cutter.cut(units)
        for own in cutter.images.split(units).values():
            real = cutter.cut(own).real
            inside[:] = False
            inside[real] = True
            atoms[real] += c
            bonds += c * inside[topology.bonds].all(axis=1)
        charge += c * fragment.charge
        for key in zip(fragment.host.tolist(), fragment.replaced.tolist(), strict=True):
            caps[key] = caps.get(key, 0) + c
    return Coverage(
        atoms=atoms, bonds=bonds, caps=np.array(list(caps.values()), dtype=np.int64), charge=charge
    )


def check_coverage(cutter: Cutter, expansion: Expansion) -> None:
    """Checks that everything counts once.

    Raises:
        GeometryError: something does not, which is a fault of the scheme; atoms are named.
    """
    found = coverage(cutter, expansion)
    wrong = np.flatnonzero(found.atoms != 1)
    broken = cutter.topology.bonds[found.bonds != 1]
    charge = cutter.topology.charge
    if wrong.size or len(broken) or found.caps.any() or found.charge != charge:
        raise GeometryError(
            f"the fragments do not add up to the structure: atoms {wrong[:10].tolist()} and bonds "
            f"{broken[:10].tolist()} are not counted once, net caps {int(abs(found.caps).sum())}, "
            f"charge {found.charge} instead of {charge}"
        )
