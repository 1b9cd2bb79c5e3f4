"""Inclusion–exclusion: overlapping pieces with signs, so that everything counts once."""

from __future__ import annotations

from collections.abc import Iterable

from tlpot.fragments.fragment import Units


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
