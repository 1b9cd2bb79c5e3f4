"""Scans: torsions turned rigidly, and two molecules brought together."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import vdw_radii
from numpy.typing import NDArray

from tlpot.sampling.candidate import SampledGeometry
from tlpot.system import System
from tlpot.topology import MolecularGraph, torsions

FACTORS = np.linspace(0.75, 1.75, 8)
"""Closest approach of a dimer as a multiple of the sum of van der Waals radii."""
_ATTEMPTS = 10
_ROTAMERS = np.array([60.0, 180.0, 300.0])
_SPREAD = 15.0
_PLANAR_STEP = np.array([0.0, 90.0, 180.0, 270.0])


def scan(atoms: Atoms, molecule: MolecularGraph, count: int, seed: int) -> list[SampledGeometry]:
    """Turns single bonds: φ and ψ on a jittered grid, all others to rotamers drawn at random.

    Every pair (φ, ψ) has its own cells, in an order of its own. Cells where no draw is free of
    clashes are passed over and others are tried, so that the basins that a molecule has get the
    geometries.

    Args:
        atoms: the fragment, from which bond lengths and angles are taken.
        molecule: its bonds.
        count: geometries wanted.
        seed: of cells and rotamers.

    Returns:
        At most `count`; none if there is nothing to turn.
    """
    found = torsions(molecule)
    if not found:
        return []
    rng = np.random.default_rng(seed)
    side = max(1, int(np.ceil(np.sqrt(count))))
    width = 360.0 / side
    orders = {k: rng.permutation(side * side) for k in range(len(found))}
    kept: list[SampledGeometry] = []
    for draw in range(4 * side * side):
        cell = draw % (side * side)
        for _ in range(_ATTEMPTS):
            moved = atoms.copy()
            moved.calc = None
            last_phi = 0
            for index, torsion in enumerate(found):
                if torsion.name == "phi":
                    last_phi = index
                if torsion.name == "chi":
                    choices = _PLANAR_STEP if _meets_plane(molecule, torsion.atoms) else _ROTAMERS
                    angle = rng.choice(choices) + rng.normal(0.0, _SPREAD)
                else:
                    # φ and the ψ that follows it share a cell of the grid
                    number = int(orders[last_phi][cell])
                    row = number // side if torsion.name == "phi" else number % side
                    angle = (row + rng.uniform()) * width
                torsion.turn(moved.positions, float(angle))
            if not molecule.clashes(moved):
                kept.append(
                    SampledGeometry(
                        positions=moved.positions.copy(),
                        method="scan",
                        seed=seed,
                        step=draw,
                    )
                )
                break
        if len(kept) == count:
            break
    return kept


def _meets_plane(molecule: MolecularGraph, atoms: tuple[int, ...]) -> bool:
    """Whether one end of the bond is a planar carbon, which has no staggered rotamers."""
    return any(molecule.numbers[a] == 6 and len(molecule.neighbors[a]) == 3 for a in atoms[1:3])


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
) -> list[SampledGeometry]:
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
    kept: list[SampledGeometry] = []
    while len(kept) < count:
        second = (other - other.mean(axis=0)) @ _rotation(rng).T
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        for factor in FACTORS:
            if len(kept) == count:
                break
            distance = _contact(first, second, direction, factor * reach)
            kept.append(
                SampledGeometry(
                    positions=np.vstack([first, second + distance * direction]),
                    method="dimer",
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
