"""Two molecules brought together along random directions and in random orientations."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import vdw_radii
from numpy.typing import NDArray

from tlpot.sampling.candidate import Candidate
from tlpot.system import System

FACTORS = np.linspace(0.75, 1.75, 8)
"""Closest approach as a multiple of the sum of van der Waals radii."""


def dimer(one: Atoms, other: Atoms, *, apart: float = 12.0) -> Atoms:
    """The two molecules side by side: charges and unpaired electrons add up.

    The first one's atoms come first.

    Args:
        one: a molecule.
        other: a molecule.
        apart: distance of their centres, Å.
    """
    first, second = (Atoms(m.numbers, m.positions - m.positions.mean(0)) for m in (one, other))
    second.positions += [apart, 0.0, 0.0]
    joined = first + second
    parts = System.from_atoms(one), System.from_atoms(other)
    joined.info["charge"] = sum(part.charge for part in parts)
    # unpaired electrons stay unpaired, as in two molecules far from each other
    joined.info["spin"] = 1 + sum(part.spin - 1 for part in parts)
    return joined


def approaches(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    pair: Atoms,
    count: int,
    seed: int,
) -> list[Candidate]:
    """Scans the distance of two molecules, a new direction and orientation for each scan.

    Args:
        one: positions of the first, [n_one, 3], Å.
        other: positions of the second, [n_other, 3], Å.
        pair: what `dimer` made of them.
        count: geometries wanted.
        seed: of directions and orientations.
    """
    rng = np.random.default_rng(seed)
    radii = np.nan_to_num(vdw_radii[pair.numbers], nan=2.0)
    reach = radii[: len(one), None] + radii[None, len(one) :]
    first = one - one.mean(axis=0)
    kept: list[Candidate] = []
    while len(kept) < count:
        second = (other - other.mean(axis=0)) @ _rotation(rng).T
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        for factor in FACTORS:
            if len(kept) == count:
                break
            distance = _contact(first, second, direction, factor * reach)
            kept.append(
                Candidate(
                    positions=np.vstack([first, second + distance * direction]),
                    method="dimer",
                    temperature=float("nan"),
                    seed=seed,
                    step=len(kept),
                )
            )
    return kept


def _contact(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    direction: NDArray[np.float64],
    reach: NDArray[np.float64],
) -> float:
    """How far along a direction the second has to be moved for every pair to be out of reach."""
    gap = second[None] - first[:, None]
    along = gap @ direction
    across = np.maximum((gap**2).sum(axis=-1) - along**2, 0.0)
    inside = across < reach**2
    if not inside.any():
        return 0.0
    roots = -along + np.sqrt(np.maximum(reach**2 - across, 0.0))
    return float(roots[inside].max())


def _rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """A uniform random rotation, from a unit quaternion, [3, 3]."""
    quaternion = rng.standard_normal(4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
