"""Dihedral angles: those of a peptide's backbone, and the single bonds that parts turn about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.data import vdw_radii
from numpy.typing import ArrayLike

from tlpot.bond_thresholds import BONDED, BROKEN, CLASH, FORMED, OVERLAP, RADII
from tlpot.errors import GeometryError
from tlpot.numbers import Bools, Floats, Ints
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
    near = topology.neighbors
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


def dihedral_angles(positions: ArrayLike, quads: ArrayLike) -> Floats:
    """Returns dihedral angles from -180 to 180 degrees, [..., n_quads].

    Positive is clockwise looking from the second atom to the third, doi:10.1021/bi00820a001.

    Positions are [..., n_atoms, 3], Å, and `quads` [n_quads, 4].
    """
    where = np.asarray(positions, dtype=np.float64)
    index = np.asarray(quads, dtype=np.int64).reshape(-1, 4)
    a, b, c, d = (where[..., index[:, k], :] for k in range(4))
    axis = c - b
    first, second = np.cross(b - a, axis), np.cross(axis, d - c)
    length = np.linalg.norm(axis, axis=-1)
    y = length * np.einsum("...i,...i->...", b - a, second)
    x = np.einsum("...i,...i->...", first, second)
    return np.degrees(np.arctan2(y, x))


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


class MolecularGraph:
    """The bond graph of a structure that stays what it is.

    Args:
        atoms: the structure; not periodic.
        bonds: [n_bonds, 2]; None finds them from distances.

    Attributes:
        numbers: atomic numbers, [n_atoms].
        bonds: [n_bonds, 2], the smaller index first.
        neighbors: indices of the atoms bound to each atom.

    Raises:
        GeometryError: the structure is periodic.
    """

    def __init__(self, atoms: Atoms, bonds: Ints | None = None) -> None:
        if atoms.pbc.any():
            raise GeometryError(
                f"{atoms.get_chemical_formula()} is periodic, and only molecules have such bonds. "
                "Set pbc=False if it is one in a box"
            )
        self.numbers: Ints = atoms.numbers.astype(np.int64)
        self.bonds = _near(atoms, BONDED) if bonds is None else np.asarray(bonds, dtype=np.int64)
        self.neighbors: list[list[int]] = [[] for _ in atoms]
        for one, other in self.bonds.tolist():
            self.neighbors[one].append(other)
            self.neighbors[other].append(one)

    def intact(self, atoms: Atoms) -> bool:
        """Whether the same atoms elsewhere still have these bonds and no others."""
        if not np.isfinite(atoms.positions).all():
            return False
        own = set(map(tuple, self.bonds.tolist()))
        held = set(map(tuple, _near(atoms, BROKEN).tolist()))
        return own <= held and set(map(tuple, _near(atoms, FORMED).tolist())) <= own

    def overlaps(self, atoms: Atoms) -> bool:
        """Whether two atoms, hydrogens included, are in one place.

        Args:
            atoms: the same atoms elsewhere.
        """
        radii = OVERLAP * RADII[self.numbers]
        inside = _lengths(atoms.positions) < radii[:, None] + radii
        return bool(np.triu(inside, 1).any())

    def clashes(self, atoms: Atoms) -> bool:
        """Whether atoms that no one, two or three bonds join come too close."""
        return bool((_lengths(atoms.positions)[self._apart] < self._reach).any())

    @cached_property
    def _apart(self) -> tuple[Ints, Ints]:
        """Pairs beyond three bonds."""
        first, second = np.nonzero(np.triu(~self._close))
        return first, second

    @cached_property
    def _reach(self) -> Floats:
        """How close each pair of `_apart` may come, Å."""
        radii = np.nan_to_num(vdw_radii[self.numbers], nan=2.0) * CLASH
        return radii[self._apart[0]] + radii[self._apart[1]]

    @cached_property
    def _close(self) -> Bools:
        """Pairs within three bonds, [n_atoms, n_atoms]."""
        linked = np.eye(len(self.numbers), dtype=np.int64)
        linked[self.bonds[:, 0], self.bonds[:, 1]] = 1
        linked[self.bonds[:, 1], self.bonds[:, 0]] = 1
        return np.linalg.matrix_power(linked, 3) > 0

    def side(self, fixed: int, moving: int) -> tuple[int, ...] | None:
        """The atoms beyond a bond, that of the `moving` end, or None if it is part of a ring."""
        seen, todo = {moving}, [moving]
        while todo:
            here = todo.pop()
            for other in self.neighbors[here]:
                if here == moving and other == fixed:
                    continue
                if other == fixed:
                    return None
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return tuple(sorted(seen))

    @property
    def pieces(self) -> tuple[tuple[int, ...], ...]:
        """The atoms of each connected part."""
        left, found = set(range(len(self.numbers))), []
        while left:
            piece = self.side(-1, min(left))
            assert piece is not None
            found.append(piece)
            left -= set(piece)
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Torsion:
    """A rotation about a single bond.

    Attributes:
        name: ``phi``, ``psi`` or ``chi``; the last stands for every other.
        atoms: the four whose dihedral it is.
        moving: the atoms that turn.
    """

    name: str
    atoms: tuple[int, int, int, int]
    moving: tuple[int, ...]

    def turn(self, positions: Floats, angle: float) -> None:
        """Turns the smaller side of the bond until the dihedral has a value.

        Positions, [n_atoms, 3], Å, are changed in place; the angle is in degrees.
        """
        a, b, c, d = positions[list(self.atoms)]
        axis = (c - b) / np.linalg.norm(c - b)
        before, after = np.cross(axis, a - b), np.cross(axis, d - c)
        now = np.arctan2(np.dot(np.cross(before, after), axis), np.dot(before, after))
        by = np.deg2rad(angle) - now
        arms = positions[list(self.moving)] - c
        # Rodrigues' formula
        along = np.outer(arms @ axis, axis)
        turned = along + np.cos(by) * (arms - along) + np.sin(by) * np.cross(axis, arms)
        positions[list(self.moving)] = c + turned


def backbone_dihedrals(
    molecule: MolecularGraph,
) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """The atoms of φ (C, N, CA, C) and ψ (N, CA, C, N) at every α carbon between two amides."""
    found = []
    for alpha in np.flatnonzero(molecule.numbers == 6).tolist():
        if len(molecule.neighbors[alpha]) != 4:
            continue
        for nitrogen in _of(molecule, alpha, 7):
            before = [c for c in _of(molecule, nitrogen, 6) if c != alpha and _amide(molecule, c)]
            for carbonyl in _of(molecule, alpha, 6):
                after = [n for n in _of(molecule, carbonyl, 7) if _amide(molecule, carbonyl)]
                if before and after:
                    phi = (before[0], nitrogen, alpha, carbonyl)
                    found.append((phi, (nitrogen, alpha, carbonyl, after[0])))
    return tuple(found)


def torsions(molecule: MolecularGraph) -> tuple[Torsion, ...]:
    """The single bonds that a scan turns.

    Not in it: bonds of rings, bonds between two planar atoms (amides, guanidinium, C=C; biaryls
    too), methyl and ammonium groups, which only exchange equal atoms.
    """
    backbone = backbone_dihedrals(molecule)
    names = {frozenset(phi[1:3]): ("phi", phi) for phi, _ in backbone}
    names |= {frozenset(psi[1:3]): ("psi", psi) for _, psi in backbone}
    found = []
    for b, c in molecule.bonds.tolist():
        ends = (
            [n for n in molecule.neighbors[b] if n != c],
            [n for n in molecule.neighbors[c] if n != b],
        )
        side = molecule.side(b, c)
        if side is None or not all(ends) or (_planar(molecule, b) and _planar(molecule, c)):
            continue
        if any(len(e) == 3 and (molecule.numbers[e] == 1).all() for e in ends):
            continue
        default = ("chi", (_heaviest(molecule, ends[0]), b, c, _heaviest(molecule, ends[1])))
        name, atoms = names.get(frozenset((b, c)), default)
        forward = molecule.side(atoms[1], atoms[2])
        backward = molecule.side(atoms[2], atoms[1])
        assert forward is not None
        assert backward is not None
        if len(backward) < len(forward):
            atoms, forward = atoms[::-1], backward
        found.append(
            Torsion(name=name, atoms=(atoms[0], atoms[1], atoms[2], atoms[3]), moving=forward)
        )
    return tuple(found)


def _near(atoms: Atoms, factor: float) -> Ints:
    radii = factor * RADII[atoms.numbers]
    near = _lengths(atoms.positions) < radii[:, None] + radii
    pairs = np.argwhere(np.triu(near, 1)).astype(np.int64)
    # two hydrogens are never bound in what is sampled here, however close
    heavy = (atoms.numbers[pairs] > 1).any(axis=1) | (len(atoms) == 2)
    return pairs[heavy]


def _lengths(positions: Floats) -> Floats:
    return np.linalg.norm(positions[:, None] - positions, axis=2)


def _of(molecule: MolecularGraph, atom: int, number: int) -> list[int]:
    return [n for n in molecule.neighbors[atom] if molecule.numbers[n] == number]


def _amide(molecule: MolecularGraph, carbon: int) -> bool:
    oxygens = [o for o in _of(molecule, carbon, 8) if len(molecule.neighbors[o]) == 1]
    return len(molecule.neighbors[carbon]) == 3 and bool(oxygens and _of(molecule, carbon, 7))


def _planar(molecule: MolecularGraph, atom: int) -> bool:
    number, degree = molecule.numbers[atom], len(molecule.neighbors[atom])
    if number == 6:
        return degree == 3
    return number == 7 and any(
        molecule.numbers[n] == 6 and len(molecule.neighbors[n]) == 3
        for n in molecule.neighbors[atom]
    )


def _heaviest(molecule: MolecularGraph, candidates: list[int]) -> int:
    return max(candidates, key=lambda n: (molecule.numbers[n], -n))
