"""Checks that the arrays of a section fit together."""

from __future__ import annotations

from tlpot.data.spec import DataSpec
from tlpot.data.store import Section
from tlpot.errors import DataError


def check_shapes(section: Section, spec: DataSpec) -> None:
    """Checks the shape of every array that the description mentions.

    Raises:
        DataError: a shape does not fit; the message says which would.
    """
    shapes = section.shapes
    coordinates = shapes[spec.coordinates]
    if len(coordinates) != 3 or coordinates[2] != 3:
        raise DataError(
            f"{section.label}: {spec.coordinates!r} has shape {coordinates}, "
            "expected (frames, atoms, 3)"
        )
    m, n = coordinates[:2]
    expected: dict[str, set[tuple[int, ...]]] = {spec.numbers: {(n,), (m, n)}}
    for key, options in (
        (spec.cell, {(3, 3), (m, 3, 3)}),
        (spec.pbc, {(3,), (m, 3)}),
        (spec.charge, {(), (1,), (m,)}),
        (spec.spin, {(), (1,), (m,)}),
    ):
        if key:
            expected[key] = options
    for level in spec.levels.values():
        expected |= {key: {(m,), (m, 1)} for key in level.energy_keys}
        if level.forces:
            expected[level.forces] = {(m, n, 3)}
        if level.stress:
            expected[level.stress] = {(m, 3, 3), (m, 6)}
    labels = {key for level in spec.levels.values() for key in level.keys}
    for key, allowed in expected.items():
        if key in labels and 0 in shapes.get(key, ()):
            continue  # an array without any element, as SPICE has, is an absent label
        if key in shapes and shapes[key] not in allowed:
            raise DataError(
                f"{section.label}: {key!r} has shape {shapes[key]}, but {m} frames of {n} atoms "
                f"need {' or '.join(str(s) for s in sorted(allowed, key=len))}"
            )
