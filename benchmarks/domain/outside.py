"""Structures of kinds that tlpot-fragments was not trained on, distorted at random."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import molecule

DISTORTION = 0.03
"""Å, standard deviation of each coordinate."""


def disulfide(thiol: str, rng: np.random.Generator) -> Atoms:
    """R-S-S-R from a thiol without its hydrogen, bonds of 2.05 Å, any dihedral angle."""
    half = molecule(thiol)
    sulfur = int(np.flatnonzero(half.numbers == 16)[0])
    hydrogens = np.flatnonzero(half.numbers == 1)
    lost = int(hydrogens[half.get_distances(sulfur, hydrogens).argmin()])
    half.positions -= half.positions[sulfur]
    axis = half.positions[lost] / np.linalg.norm(half.positions[lost])
    del half[lost]
    other = half.copy()
    other.positions *= -1.0
    other.rotate(rng.uniform(0.0, 360.0), axis)
    other.translate(2.05 * axis)
    return distorted(half + other, rng)


def charged_pair(cation: str, gap: float, rng: np.random.Generator) -> Atoms:
    """Acetate and ammonium or methylammonium, with hydrogen and oxygen `gap` Å apart."""
    acid = molecule("CH3COOH")
    hydrogens, oxygens = (np.flatnonzero(acid.numbers == z) for z in (1, 8))
    acidic = min(hydrogens, key=lambda i: acid.get_distances(i, oxygens).min())
    host = int(oxygens[acid.get_distances(int(acidic), oxygens).argmin()])
    axis = acid.positions[acidic] - acid.positions[host]
    axis /= np.linalg.norm(axis)
    oxygen = acid.positions[host].copy()
    del acid[int(acidic)]
    ion = _cation(cation)
    bond = ion.positions[1] / np.linalg.norm(ion.positions[1])  # of the first hydrogen
    ion.rotate(bond, -axis)
    ion.translate(oxygen + (gap + 1.03) * axis)
    return distorted(acid + ion, rng)


def _cation(name: str) -> Atoms:
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    if name == "ammonium":
        return Atoms("NH4", np.concatenate([np.zeros((1, 3)), 1.03 * corners]))
    amine = Atoms("NH3C", np.concatenate([np.zeros((1, 3)), 1.03 * corners[:3], 1.5 * corners[3:]]))
    outward = corners[3]
    across = -(corners[:3] - (corners[:3] @ outward)[:, None] * outward)
    methyl = amine.positions[4] + 1.09 * (across / np.linalg.norm(across, axis=1)[:, None] * 0.943
                                          + outward / 3.0)  # fmt: skip
    return amine + Atoms("H3", methyl)


def water(side: tuple[int, int, int], rng: np.random.Generator) -> Atoms:
    """Water molecules on a grid of 3.0 Å, each turned at random; 3 x 3 x 3 are periodic."""
    cluster = Atoms()
    for cell in np.ndindex(*side):
        one = molecule("H2O")
        one.rotate(rng.uniform(0.0, 360.0), rng.standard_normal(3))
        one.translate(3.0 * np.array(cell))
        cluster += one
    if min(side) == 3:
        cluster.set_cell([9.0, 9.0, 9.0])
        cluster.pbc = True
    return distorted(cluster, rng)


def distorted(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    atoms.positions += DISTORTION * rng.standard_normal(atoms.positions.shape)
    return atoms
