"""What became of a structure: root mean square displacement, bonds that broke or formed."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from tlpot.bond_thresholds import BONDED, RELAXED_BROKEN, RELAXED_FORMED
from tlpot.numbers import Floats


def bond_changes(before: Atoms, after: Atoms) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Compares the bonds of two geometries of the same atoms, by distances.

    The second one is unwrapped as the first, in whatever cell.

    Returns:
        The bonds that broke and those that formed, such as ``C0-H4 (1.09 to 2.31 Å)``.
    """
    old = _pairs(before, BONDED)
    broken = []
    for key in sorted(old):
        i, j, *image = key
        length = float(
            np.linalg.norm(
                after.positions[j] - after.positions[i] + np.array(image) @ after.cell.array
            )
        )
        if length > RELAXED_BROKEN * (
            covalent_radii[after.numbers[i]] + covalent_radii[after.numbers[j]]
        ):
            broken.append(_named(before, i, j, old[key], length))
    formed = []
    for key, length in sorted(_pairs(after, RELAXED_FORMED).items()):
        if key not in old:
            i, j, *image = key
            vector = before.positions[j] - before.positions[i] + np.array(image) @ before.cell.array
            formed.append(_named(before, i, j, float(np.linalg.norm(vector)), length))
    return tuple(broken), tuple(formed)


def rmsd(before: Atoms, after: Atoms) -> float:
    """Returns the root mean square displacement of the atoms in Å.

    Of a free molecule, after the best superposition (Kabsch, doi:10.1107/S0567739476001873); of a
    periodic one without the mean displacement, in the fractional coordinates of the last cell;
    with constraints as it is.
    """
    if before.constraints:
        shift = after.positions - before.positions
    elif before.pbc.any():
        old = before.get_scaled_positions(wrap=False) @ after.cell.array
        if before.cell.rank < 3:
            old = before.positions
        shift = after.positions - old
        shift = shift - shift.mean(axis=0)
    else:
        old = before.positions - before.positions.mean(axis=0)
        new = after.positions - after.positions.mean(axis=0)
        shift = new - old @ superposition(old, new)
    return float(np.sqrt((shift**2).sum(axis=1).mean()))


def superposition(old: Floats, new: Floats) -> Floats:
    """Returns the proper rotation R, [3, 3], for which ``old @ R`` is nearest to `new`."""
    left, _, right = np.linalg.svd(old.T @ new)
    sign = np.sign(np.linalg.det(left @ right))
    return left @ np.diag([1.0, 1.0, sign]) @ right


def _pairs(atoms: Atoms, factor: float) -> dict[tuple[int, ...], float]:
    """Returns the length of each pair, keyed by both atoms and the image of the second."""
    from ase.neighborlist import neighbor_list

    radii = factor * covalent_radii[atoms.numbers]
    i, j, images, lengths = neighbor_list("ijSd", atoms, list(radii))
    found: dict[tuple[int, ...], float] = {}
    for first, second, image, length in zip(
        i.tolist(), j.tolist(), images.tolist(), lengths.tolist(), strict=True
    ):
        turned = (second, first, *(-k for k in image))
        found[min((first, second, *image), turned)] = length
    return found


def _named(atoms: Atoms, i: int, j: int, before: float, after: float) -> str:
    return f"{atoms.symbols[i]}{i}-{atoms.symbols[j]}{j} ({before:.2f} to {after:.2f} Å)"
