"""Atoms placed by bond length, angle and torsion."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_TORSION = re.compile(r"(chi\d)?([+-]?\d+(?:\.\d+)?)?")
_HYDROGEN = {"N": 1.02}


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """One atom in internal coordinates.

    Attributes:
        name: of the atom.
        references: the atom that it is bound to, the one of the angle, the one of the torsion.
        length: of the bond, Å.
        angle: degrees.
        chi: which side-chain torsion its own follows, from 0 on; None for a fixed one.
        torsion: degrees; added to χ if there is one.
    """

    name: str
    references: tuple[str, str, str]
    length: float
    angle: float
    chi: int | None
    torsion: float


def place(references: tuple[Vector, Vector, Vector], length: float, angle: float,
          torsion: float) -> Vector:  # fmt: skip
    """The position of an atom from three others, by the natural extension reference frame.

    DOI 10.1002/jcc.20237. The torsion has the sign of IUPAC.

    Args:
        references: positions of the atoms bound, of the angle and of the torsion, [3], Å.
        length: Å.
        angle: degrees.
        torsion: degrees.
    """
    bound, middle, end = references
    along = bound - middle
    along = along / np.linalg.norm(along)
    normal = np.cross(middle - end, along)
    normal = normal / np.linalg.norm(normal)
    theta, phi = math.radians(angle), math.radians(torsion)
    inward = np.cross(normal, along)
    offset: Vector = length * (
        -math.cos(theta) * along
        + math.sin(theta) * math.cos(phi) * inward
        + math.sin(theta) * math.sin(phi) * normal
    )
    return bound + offset


def parse(table: str) -> tuple[Placement, ...]:
    """Reads a table of `tlpot.fragments.side_chains`; heavy atoms come first, as they are needed.

    Args:
        table: lines of it.
    """
    found = [placement for line in table.splitlines() for placement in _line(line)]
    return tuple(sorted(found, key=lambda placement: placement.name.startswith("H")))


def angle_of(placement: Placement, chi: Mapping[int, float]) -> float:
    """The torsion of an atom for given χ, degrees.

    Args:
        placement: the atom.
        chi: degrees, by number from 0 on.
    """
    return placement.torsion + (0.0 if placement.chi is None else chi[placement.chi])


def _line(line: str) -> list[Placement]:
    name, *rest = line.split()
    references = (rest[0], rest[1], rest[2])
    chi, torsion = _torsion(rest[-1])
    steps: tuple[float, ...]
    if name.endswith("*"):
        ends, steps, angle = "123", (0.0, 120.0, 240.0), 109.5
    elif name.endswith("="):
        ends, steps, angle = "23", (120.0, -120.0), 109.0
    else:
        ends, steps, angle = "", (0.0,), float(rest[4])
    length = _HYDROGEN.get(rest[0][0], 1.09) if ends else float(rest[3])
    stem = name[:-1] if ends else name
    return [
        Placement(
            name=stem + end,
            references=references,
            length=length,
            angle=angle,
            chi=chi,
            torsion=torsion + step,
        )
        for end, step in zip(ends or ("",), steps, strict=True)
    ]


def _torsion(text: str) -> tuple[int | None, float]:
    match = _TORSION.fullmatch(text)
    if match is None:
        raise AssertionError(f"not a torsion: {text}")
    chi, number = match.groups()
    return (None if chi is None else int(chi[3:]) - 1), float(number or 0.0)
