"""Inclusion–exclusion: overlapping pieces with signs, so that everything counts once."""

from __future__ import annotations

from collections.abc import Iterable

from tlpot.fragments.fragment import Units
from tlpot.fragments.image import Images, Shift, difference


def inclusion_exclusion(primaries: Iterable[Units]) -> dict[Units, int]:
    """Closes a family of sets under intersection and gives each set its coefficient.

    c(S) = 1 − Σ c(T) over the sets T that strictly contain S, so that every element of a
    primary is counted exactly once: the principle of inclusion and exclusion, for overlapping
    fragments as reviewed by Barker et al.,
    doi:10.48550/arXiv.2411.12467. Only sets that share elements are
    compared, so the effort grows with the number of primaries when these are local.

    Args:
        primaries: sets of units; the order does not matter, empty ones are ignored.

    Returns:
        The coefficient of each set; sets with coefficient 0 are left out.
    """
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

    coefficients: dict[Units, int] = {}
    for units in sorted(closed, key=lambda s: (-len(s), sorted(s))):
        rarest = min(units, key=lambda element: len(by_element[element]))
        above = (other for other in by_element[rarest] if units < other)
        coefficients[units] = 1 - sum(coefficients[other] for other in above)
    return {units: c for units, c in coefficients.items() if c}


def periodic_inclusion_exclusion(primaries: Iterable[Units], images: Images) -> dict[Units, int]:
    """Does the same for a family that goes on and on with all its periodic images.

    Sets are compared in every way in which an image of one shares elements with the other, so
    one set may contain another several times. Each set stands for all of its images.

    Args:
        primaries: sets of units of any image.
        images: how these are numbered.

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
