"""Side chains of a peptide turned out of each other's way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from ase import Atoms
from ase.data import vdw_radii
from numpy.typing import NDArray

from tlpot.fragments.internal import Placement, Vector, angle_of, place

_CLOSE = 0.72
"""Times the sum of van der Waals radii."""
_SWEEPS = 5
_TURNS = (0.0, 120.0, -120.0)


def pack(
    atoms: Atoms,
    placements: Sequence[tuple[Placement, ...]],
    chi: Sequence[Mapping[int, float]],
    movable: Sequence[bool],
    first: int,
) -> list[dict[int, float]]:
    """Looks for rotamers without clashes, residue by residue, where there are any.

    A residue whose side chain is not closer to other residues than 0.72 times the sum of van
    der Waals radii stays as it is. Others try χ1 to χ3 in steps of 120° from where they are,
    against all the rest of the peptide, and take what is least in the way; a few sweeps.

    Args:
        atoms: the peptide in the given rotamers.
        placements: of each residue's side chain.
        chi: of each residue, degrees.
        movable: which residues may be changed.
        first: residue number of the first amino acid.

    Returns:
        χ of each residue.
    """
    found = [dict(angles) for angles in chi]
    numbers, names = atoms.arrays["residuenumbers"], atoms.arrays["atomtypes"]
    positions = atoms.positions.copy()
    radii = np.nan_to_num(vdw_radii[atoms.numbers], nan=2.0) * _CLOSE
    own = [np.flatnonzero(numbers == first + k) for k in range(len(found))]
    at = [{str(names[i]): int(i) for i in rows} for rows in own]
    for _ in range(_SWEEPS):
        changed = False
        for k, angles in enumerate(found):
            if not movable[k] or not angles:
                continue
            rows = np.array([at[k][p.name] for p in placements[k] if p.name != "CB"])
            others = numbers != first + k
            near = _Surroundings(positions[others], radii[others], radii[rows])
            labels = [str(names[i]) for i in rows]
            backbone = {name: positions[at[k][name]] for name in ("N", "CA", "C")}
            best = near.overlap(positions[rows])
            if best == 0.0:
                continue
            for turns in product(_TURNS, repeat=min(len(angles), 3)):
                tried = dict(angles)
                for number, turn in enumerate(turns):
                    tried[number] += turn
                placed = _placed(placements[k], tried, backbone)
                side = np.array([placed[label] for label in labels])
                score = near.overlap(side)
                if score < best - 1e-9:
                    best, found[k], changed = score, tried, True
                    positions[rows] = side
                if best == 0.0:
                    break
        if not changed:
            break
    return found


class _Surroundings:
    """All atoms that a side chain may be in the way of."""

    def __init__(
        self, positions: Vector, radii: NDArray[np.float64], own: NDArray[np.float64]
    ) -> None:
        self._positions = positions
        self._reach = own[:, None] + radii

    def overlap(self, side: NDArray[np.float64]) -> float:
        """Sum of squared overlaps, Å²."""
        gaps = np.linalg.norm(side[:, None] - self._positions, axis=2)
        return float((np.maximum(self._reach - gaps, 0.0) ** 2).sum())


def _placed(
    placements: Sequence[Placement], chi: Mapping[int, float], backbone: Mapping[str, Vector]
) -> dict[str, Vector]:
    placed = dict(backbone)
    for each in placements:
        one, two, three = (placed[name] for name in each.references)
        placed[each.name] = place((one, two, three), each.length, each.angle, angle_of(each, chi))
    return placed
