"""How close the atoms of a structure are, in units of covalent bonds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii

from tlpot.errors import GeometryError
from tlpot.neighbors import neighbor_list
from tlpot.system import System

BONDED = 1.25
"""Atoms are bonded up to this many times the sum of their covalent radii."""

REACH = 6.0
"""Å; how far the atoms of a cell look for neighbours."""

_NEIGHBORS = 12
"""Neighbours of an atom that are looked at in a molecule."""

_INERT = (2, 10, 18, 36, 54, 86)


@dataclass(frozen=True, kw_only=True, slots=True)
class Closeness:
    """The covalent bonds of a structure.

    Attributes:
        distance: from an atom to the neighbour that is nearest in units of the sum of covalent
            radii (B. Cordero et al., doi:10.1039/b801115j), in these units; the median over the
            atoms. About 1 in whatever has covalent, ionic or metallic bonds.
        n_bonds: pairs of atoms that are bonded.
    """

    distance: float
    n_bonds: int


def closeness(system: System) -> Closeness | None:
    """Measures a structure; None where there is nothing to measure.

    That is a single atom, an unusable cell, or a structure of noble gases.

    Args:
        system: with finite positions.
    """
    from scipy.spatial import cKDTree

    radii = covalent_radii[system.atomic_numbers]
    if len(system) < 2:
        return None
    if system.pbc.any():
        try:
            found = neighbor_list(system, REACH, closest=0.0)
        except GeometryError:
            return None
        i, j = found.center, found.neighbor
        ends = system.positions[j] + found.shifts @ system.cell
        lengths = np.linalg.norm(ends - system.positions[i], axis=1)
    else:
        n = min(len(system), _NEIGHBORS + 1)
        near, places = cKDTree(system.positions).query(system.positions, k=n)
        i = np.repeat(np.arange(len(system)), n)
        j, lengths = places.reshape(-1), near.reshape(-1)
        i, j, lengths = i[i != j], j[i != j], lengths[i != j]
    relative = lengths / (radii[i] + radii[j])
    nearest = np.full(len(system), np.inf)
    np.minimum.at(nearest, i, relative)
    nearest = nearest[np.isfinite(nearest) & ~np.isin(system.atomic_numbers, _INERT)]
    if not len(nearest):
        return None
    n_bonds = int((relative < BONDED).sum()) // 2
    return Closeness(distance=float(np.median(nearest)), n_bonds=n_bonds)
