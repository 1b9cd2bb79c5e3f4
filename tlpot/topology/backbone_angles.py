"""φ and ψ of a peptide backbone, found in the perceived topology."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlpot.topology.topology import Topology

Quad = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneDihedrals:
    """The dihedral angles of one amino acid, as of doi:10.1021/bi00820a001.

    Attributes:
        residue: its index in the topology.
        name: of the residue.
        phi: C of the residue before, N, CA, C; None if N is bound to no such C.
        psi: N, CA, C, N of the residue after; None if C is bound to no such N.
    """

    residue: int
    name: str
    phi: Quad | None
    psi: Quad | None


def dihedrals(topology: Topology) -> tuple[BackboneDihedrals, ...]:
    """Returns the backbone dihedrals of each amino acid, in the order of the residues.

    Bonds, units and the order in the chains decide, not the names of atoms or residues. An amino
    acid whose N, CA and C are not told apart by bonds (merged units) is left out.
    """
    near = _neighbors(topology)
    before, after = _order(topology)
    found = []
    for index, residue in enumerate(topology.residues):
        if residue.kind != "amino":
            continue
        backbone = _backbone(topology, near, index)
        if backbone is None:
            continue
        n, ca, c = backbone
        front = _one(topology, near, n, before.get(index), "carbonyl", 6)
        back = _one(topology, near, c, after.get(index), "amino", 7)
        found.append(
            BackboneDihedrals(
                residue=index,
                name=residue.name,
                phi=None if front is None else (front, n, ca, c),
                psi=None if back is None else (n, ca, c, back),
            )
        )
    return tuple(found)


def dihedral_angles(positions: ArrayLike, quads: ArrayLike) -> NDArray[np.float64]:
    """Returns dihedral angles from -180 to 180 degrees, [..., n_quads].

    Positive is clockwise looking from the second atom to the third, doi:10.1021/bi00820a001.

    Args:
        positions: [..., n_atoms, 3], Å.
        quads: [n_quads, 4], atoms.
    """
    where = np.asarray(positions, dtype=np.float64)
    index = np.asarray(quads, dtype=np.int64).reshape(-1, 4)
    a, b, c, d = (where[..., index[:, k], :] for k in range(4))
    axis = c - b
    first, second = np.cross(b - a, axis), np.cross(axis, d - c)
    length = np.linalg.norm(axis, axis=-1)
    y = length * np.einsum("...i,...i->...", b - a, second)
    x = np.einsum("...i,...i->...", first, second)
    angles: NDArray[np.float64] = np.degrees(np.arctan2(y, x))
    return angles


def _neighbors(topology: Topology) -> list[list[int]]:
    near: list[list[int]] = [[] for _ in topology.atomic_numbers]
    for i, j in topology.bonds.tolist():
        near[i].append(j)
        near[j].append(i)
    return near


def _order(topology: Topology) -> tuple[dict[int, int], dict[int, int]]:
    """Returns the residue before and after each."""
    after: dict[int, int] = {}
    for chain in topology.chains:
        members = chain.residues
        after |= dict(pairwise(members))
        if chain.cyclic:
            after[members[-1]] = members[0]
    return {b: a for a, b in after.items()}, after


def _backbone(topology: Topology, near: list[list[int]], index: int) -> tuple[int, int, int] | None:
    residue, numbers = topology.residues[index], topology.atomic_numbers
    roles = (residue.amino, residue.alpha, residue.carbonyl)
    if None in roles:
        return None
    amino, alpha, carbonyl = (set(topology.units[r].atoms) for r in roles if r is not None)
    found = {
        (n, ca, c)
        for n in amino
        if numbers[n] == 7
        for ca in near[n]
        if ca in alpha and numbers[ca] == 6
        for c in near[ca]
        if c in carbonyl and numbers[c] == 6 and any(numbers[o] == 8 for o in near[c])
    }
    return next(iter(found)) if len(found) == 1 else None


def _one(
    topology: Topology,
    near: list[list[int]],
    atom: int,
    residue: int | None,
    role: str,
    number: int,
) -> int | None:
    """Returns the neighbour of an atom in a unit of the next residue."""
    unit = None if residue is None else getattr(topology.residues[residue], role)
    if unit is None:
        return None
    inside = set(topology.units[unit].atoms)
    found = [o for o in near[atom] if o in inside and topology.atomic_numbers[o] == number]
    return found[0] if len(found) == 1 else None
