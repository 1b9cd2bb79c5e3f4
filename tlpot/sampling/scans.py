"""Scans: torsions turned rigidly, and molecules brought together and drawn apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import vdw_radii

from tlpot.numbers import Floats, Ints
from tlpot.sampling.candidate import SampledGeometry
from tlpot.structures import SMILES
from tlpot.system import System
from tlpot.topology import MolecularGraph, torsions

FACTORS = np.linspace(0.75, 1.75, 8)
"""Closest approach of a dimer as a multiple of the sum of van der Waals radii."""
CONTACT = 0.85
"""The same of molecules in contact that are not minimised: hydrogen bonds are shorter than 1."""
_STACKED = 0.35
"""Share of contacts of large molecules with their flat sides to each other."""
_LARGE = 8
"""Atoms from which on a molecule may have a flat side."""
_NEAR = 0.6
"""Å beyond contact; one half of the separations is nearer, where interactions change most."""
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


def dimer(one: Atoms, *others: Atoms, apart: float = 12.0) -> Atoms:
    """Molecules side by side: charges and unpaired electrons add up.

    Args:
        one: a molecule, whose atoms come first.
        others: the other molecule of a dimer, or several.
        apart: distance of the centres of neighbours, Å.
    """
    members = (one, *others)
    joined = Atoms()
    for k, member in enumerate(members):
        place = [k * apart, 0.0, 0.0]
        joined += Atoms(member.numbers, member.positions - member.positions.mean(0) + place)
    parts = [System.from_atoms(member) for member in members]
    joined.info["charge"] = sum(part.charge for part in parts)
    # unpaired electrons stay unpaired, as in molecules far from each other
    joined.info["spin"] = 1 + sum(part.spin - 1 for part in parts)
    if all(SMILES in member.info for member in members):
        joined.info[SMILES] = ".".join(str(member.info[SMILES]) for member in members)
    return joined


def approaches(
    one: Floats,
    other: Floats,
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


def in_contact(parts: Sequence[Floats], numbers: Ints, seed: int) -> Floats:
    """Puts molecules in contact one after the other, turned and placed at random.

    Contact is `CONTACT` times the sum of van der Waals radii. Large molecules may be stacked.

    Args:
        parts: positions of each molecule, Å.
        numbers: atomic numbers of all.
        seed: of orientations and directions.

    Returns:
        [n_atoms, 3], Å.
    """
    rng = np.random.default_rng(seed)
    radii = CONTACT * np.nan_to_num(vdw_radii[numbers], nan=2.0)
    stacked = min(map(len, parts)) > _LARGE and rng.random() < _STACKED
    placed = np.zeros((0, 3))
    for part in parts:
        turned = part - part.mean(axis=0)
        if stacked:
            axes = np.linalg.svd(turned)[2]
            axes[2] *= np.sign(np.linalg.det(axes))  # no mirror image
            turned = turned @ axes.T
            turn = rng.uniform(0.0, 2.0 * np.pi)
            c, s = np.cos(turn), np.sin(turn)
            turned = turned @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
            direction = np.array([*(0.3 * rng.standard_normal(2)), 1.0])
        else:
            turned = turned @ _rotation(rng).T
            direction = rng.standard_normal(3)
        if len(placed):
            direction /= np.linalg.norm(direction)
            turned += placed[int(rng.integers(len(placed)))]
            n, m = len(placed), len(placed) + len(part)
            reach = radii[:n, None] + radii[None, n:m]
            turned += _contact(placed, turned, direction, reach) * direction
        placed = np.vstack([placed, turned])
    return placed


def separated(
    starts: Sequence[Atoms],
    pieces: Sequence[Sequence[int]],
    count: int,
    bounds: tuple[float, float],
    seed: int,
) -> list[SampledGeometry]:
    """Moves one molecule of a complex along the line that joins its centre to that of the others.

    Args:
        starts: complexes in contact, in turn.
        pieces: the atoms of each molecule.
        count: geometries wanted.
        bounds: least and greatest change of the distance, Å.
        seed: of molecules and distances.
    """
    rng = np.random.default_rng(seed)
    low, high = bounds
    middle = min(max(low, _NEAR), high)
    found = []
    for k in range(count):
        start = starts[k % len(starts)]
        piece = list(pieces[int(rng.integers(len(pieces)))])
        rest = np.delete(start.positions, piece, axis=0)
        way = start.positions[piece].mean(axis=0) - rest.mean(axis=0)
        shift = rng.uniform(low, middle) if rng.random() < 0.5 else rng.uniform(middle, high)
        positions = start.positions.copy()
        positions[piece] += shift * way / max(float(np.linalg.norm(way)), 1e-3)
        found.append(SampledGeometry(positions=positions, method="dimer", seed=seed, step=k))
    return found


def _contact(
    first: Floats,
    second: Floats,
    direction: Floats,
    reach: Floats,
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


def _rotation(rng: np.random.Generator) -> Floats:
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
