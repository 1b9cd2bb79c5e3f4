"""Whether positions and energies are in the units that they are read in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tlpot.bond_thresholds import BONDED, RADII
from tlpot.data.dataset import Frame, Problem
from tlpot.data.total_energies import TotalEnergyCheck
from tlpot.errors import GeometryError
from tlpot.neighbors import neighbor_list
from tlpot.plural import counted
from tlpot.system import System
from tlpot.units import ENERGY, LENGTH

REACH = 6.0
"""Å; how far the atoms of a cell look for neighbours."""

_NEIGHBORS = 12
"""Neighbours of an atom that are looked at in a molecule."""

_INERT = (2, 10, 18, 36, 54, 86)


@dataclass(frozen=True, kw_only=True, slots=True)
class BondedDistances:
    """The covalent bonds of a structure.

    Attributes:
        distance: from an atom to the neighbour that is nearest in units of the sum of covalent
            radii (B. Cordero et al., doi:10.1039/b801115j), in these units; the median over the
            atoms. About 1 in whatever has covalent, ionic or metallic bonds.
        n_bonds: pairs of atoms that are bonded.
    """

    distance: float
    n_bonds: int


def bonded_distances(system: System) -> BondedDistances | None:
    """Measures a structure; None where there is nothing to measure.

    That is a single atom, an unusable cell, or a structure of noble gases.

    Args:
        system: with finite positions.
    """
    from scipy.spatial import cKDTree

    radii = RADII[system.atomic_numbers]
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
    return BondedDistances(distance=float(np.median(nearest)), n_bonds=n_bonds)


MARGIN = 1.25
"""Factor by which bonds differ from covalent radii and still tell the unit."""

ENOUGH = 10
"""Structures of three atoms or more that make it certain."""

_SHARE = 0.1
"""Share of the structures that may be otherwise: dissociated, or squeezed."""


class LengthCheck:
    """Collects the closeness of atoms in the structures of a dataset."""

    def __init__(self) -> None:
        self._distances: list[float] = []
        self._n_molecules = 0

    def add(self, found: BondedDistances, n_atoms: int) -> None:
        """Notes a structure."""
        self._distances.append(found.distance)
        self._n_molecules += n_atoms > 2

    def problems(self) -> list[Problem]:
        """Reports positions whose bonds fit another unit decisively better."""
        if not self._distances:
            return []
        low, middle, high = np.quantile(self._distances, [_SHARE, 0.5, 1 - _SHARE])
        for held, its in LENGTH.items():
            for read, unit in LENGTH.items():
                expected = unit / its
                if abs(math.log(expected)) < math.log(MARGIN):
                    continue
                if expected / MARGIN < low and high < expected * MARGIN:
                    return [self._problem(middle, held, read)]
        return []

    def _problem(self, middle: float, held: str, read: str) -> Problem:
        certain = self._n_molecules >= ENOUGH
        return Problem(
            severity="error" if certain else "warning",
            what=f"the nearest atoms are {middle:.3g} covalent bonds apart (median of "
            f"{counted(len(self._distances), 'structure')}; expected about 1), as if positions "
            f"in {held} were "
            f"read as {read}; give the right unit of coordinates in the file or its description",
        )


BOND_ENERGY = 5.0
"""eV; a typical bond, of all kinds that QM methods give: most have 1.5 to 13."""

WEAKEST, STRONGEST = 0.6, 40.0
"""eV; mean energies of bonds that no unit in eV explains."""

DEEP = 5.0
"""eV per atom; free atoms above this are relative to something, so their sum says nothing."""

_SAME_ATOMS = 1.35
"""Factor by which molecules and the sum of their free atoms may differ in energy."""

_TWICE = 0.2
"""Distance from 2 of energies to which the free atoms were added once too often."""

_REMAINDER = 0.03
"""Largest share of molecular energies that is due to bonds, but for hydrogen alone."""

_SAME_BONDS = 3.0
"""Factor by which the energy of bonds may differ from a typical one."""


class EnergyCheck:
    """Collects energies of a level beside those of the free atoms.

    Args:
        level: of theory.
        isolated_atoms: energies of the free atoms, eV; structures with others are held against
            what their electrons may have, see `TotalEnergyCheck`.
    """

    def __init__(self, level: str, isolated_atoms: Mapping[int, float]) -> None:
        self._level = level
        self._atoms = isolated_atoms
        self._ratios: list[float] = []
        self._bonds: list[float] = []
        self._relative: list[float] = []
        self._others = TotalEnergyCheck(level)

    def add(self, frame: Frame, n_bonds: int) -> None:
        """Notes a structure that has an energy."""
        numbers = frame.system.atomic_numbers.tolist()
        energy = frame.labels[self._level].energy
        if not set(numbers) <= self._atoms.keys():
            self._others.add(frame.system.atomic_numbers, energy)
            return
        if not math.isfinite(energy):
            return
        free = sum(self._atoms[z] for z in numbers)
        if free < -DEEP * len(numbers):
            self._ratios.append(energy / free)
        if 2 * n_bonds >= len(numbers) > 1:
            self._bonds.append((free - energy) / n_bonds)
            self._relative.append(-energy / n_bonds)

    def _other_zero(self, ratio: float) -> str:
        """Names the zero of energy that was mistaken; empty where it is none."""
        if abs(ratio - 2) < _TWICE:
            others = _explain(ratio, _SAME_ATOMS)
            what = "total energies were read as relative to the free atoms (energy_zero)"
            return f"{what}, or {others}" if others else what
        few = 0 < ratio < _REMAINDER and bool(self._relative)
        if few and 1 / _SAME_BONDS < np.median(self._relative) / BOND_ENERGY < _SAME_BONDS:
            return "energies relative to the free atoms were read as total (energy_zero)"
        return ""

    def problems(self, *, bonds: bool = True) -> list[Problem]:
        """Reports energies that fit another unit decisively better.

        Args:
            bonds: whether bonds could be counted, which free atoms are held against.
        """
        return self._others.problems() or (self._by_atoms() if bonds else [])

    def _by_atoms(self) -> list[Problem]:
        if self._ratios:
            ratio = float(np.median(self._ratios))
            if units := self._other_zero(ratio) or _explain(ratio, _SAME_ATOMS):
                what = (
                    f"{self._level}: energies are {ratio:.3g} times the sum of the free atoms "
                    f"(median of {counted(len(self._ratios), 'structure')}; expected 1 to "
                    f"1.3), as if "
                    f"{units}; give the right units, or zero, of energies and of isolated atoms"
                )
                return [Problem(severity="warning", what=what)]
        if self._bonds:
            bond = float(np.median(self._bonds))
            decisive = 0 < bond < WEAKEST or bond > STRONGEST
            if decisive and (units := _explain(bond / BOND_ENERGY, _SAME_BONDS)):
                what = (
                    f"{self._level}: energies are {bond:.3g} eV for each bond below the free atoms "
                    f"(median of {counted(len(self._bonds), 'structure')}; expected about "
                    f"{BOND_ENERGY:g}), "
                    f"as if {units}; give the right unit of energies"
                )
                return [Problem(severity="warning", what=what)]
        return []


def _explain(factor: float, margin: float) -> str:
    """Names the units whose confusion gives the factor, the likeliest first."""
    if not factor > 0:
        return ""
    found = []
    for held, its in ENERGY.items():
        for read, unit in ENERGY.items():
            off = abs(math.log(factor * its / unit))
            nothing = abs(math.log(factor))
            if held != read and off < math.log(margin) and 2 * off < nothing:
                rank = (read != "ev", held != "hartree", off)
                found.append((rank, f"{held} were read as {read}"))
    return ", or ".join(text for _, text in sorted(found)[:3])
