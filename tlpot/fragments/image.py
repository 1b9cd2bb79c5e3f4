"""Units of other periodic images, numbered on from the units of the structure."""

from __future__ import annotations

from collections.abc import Iterable

from tlpot.errors import GeometryError

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
