"""Whether positions, energies and total energies are in the units that they are read in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from ase.units import Hartree
from numpy.typing import NDArray

from tlpot.bond_thresholds import BONDED, RADII
from tlpot.data.dataset import Frame, Problem
from tlpot.data.energy_groups import EnergyGroups
from tlpot.errors import GeometryError
from tlpot.neighbors import neighbor_list
from tlpot.numbers import counted
from tlpot.system import System
from tlpot.units import ENERGY, LENGTH

REMEDY = (
    "give the right unit of energies: in tlpot's own layout in the attribute 'units', of extended "
    "XYZ, trajectories and databases with keys={'energy': 'KEY, UNIT', 'forces': 'KEY, UNIT'} "
    "(--keys 'energy=KEY, UNIT' 'forces=KEY, UNIT'), elsewhere in a description (spec=FILE.yaml)"
)
"""What to do about a wrong unit."""

PER_ATOM = "energies per atom were read as those of whole structures"
PER_ATOM_REMEDY = "multiply energies per atom by the number of atoms, or "

_SHOWN = 4
"""Confusions of units that are named."""

_ALL_ELECTRON = {
    1: -0.500, 2: -2.904, 3: -7.478, 4: -14.667, 5: -24.654, 6: -37.845, 7: -54.589, 8: -75.067,
    9: -99.734, 10: -128.938, 11: -162.255, 12: -200.053, 13: -242.346, 14: -289.359, 15: -341.259,
    16: -398.110, 17: -460.148, 18: -527.540,
}  # fmt: skip
"""Hartree; free atoms without relativity (doi:10.1103/PhysRevA.47.3649)."""

_TIGHT_BINDING = {
    1: -0.39, 5: -0.95, 6: -1.80, 7: -2.61, 8: -3.77, 9: -4.62, 14: -1.57, 15: -2.38, 16: -3.15,
    17: -4.48, 35: -4.05, 53: -3.78,
}  # fmt: skip
"""Hartree; free atoms of GFN2-xTB, which has valence electrons only."""

_CORE_POTENTIAL = {
    1: -0.5, 5: -2.6, 6: -5.4, 7: -9.75, 8: -15.85, 9: -24.1, 14: -3.75, 15: -6.45, 16: -10.05,
    17: -14.9, 35: -13.2, 53: -11.3,
}  # fmt: skip
"""Hartree; free atoms with the usual small-valence core potentials."""

_MOST_BOUND, _MOST_BOUND_HYDROGEN = 10.0, 4.0
"""eV for each atom that a relative energy may have: more than solids and molecules are bound by."""

_DEEPEST, _SHALLOWEST = 1.006, 0.98
"""Range of all-electron energies over the sum of the free atoms: minimal bases to DFT."""

_RELATIVISTIC = 36
"""Atomic number above which relativity deepens the energies by per cents."""

_VALENCE = 0.95, 1.4
"""The same range for valence electrons, which bonds change by more."""

_LIGHT = 10
"""Atomic number up to which one composition proves a unit; valence energies of heavier atoms may
meet all-electron energies in another unit."""

_ENOUGH = 3
"""Compositions that prove a unit together."""

_LIKELY = (ENERGY["hartree"] / ENERGY["ev"], ENERGY["ev"] / ENERGY["kcal/mol"])
"""Factors of mistakes that single compositions may prove."""

REACH = 6.0
"""Å; how far the atoms of a cell look for neighbours."""

_NEIGHBORS = 12
"""Neighbours of an atom that are looked at in a molecule."""

_INERT = (2, 10, 18, 36, 54, 86)

MARGIN = 1.25
"""Factor by which bonds differ from covalent radii and still tell the unit."""

ENOUGH = 10
"""Structures of three atoms or more that make it certain."""

_SHARE = 0.1
"""Share of the structures that may be otherwise: dissociated, or squeezed."""

BOND_ENERGY = 5.0
"""eV; a typical bond, of all kinds that QM methods give: most have 1.5 to 13."""

DEEP = 5.0
"""eV per atom; free atoms above this are relative to something, so their sum says nothing."""

_SAME_ATOMS = 1.35
"""Factor by which molecules and the sum of their free atoms may differ in energy."""

_TWICE = 0.2
"""Distance from 2 of energies to which the free atoms were added once too often."""

_CONSISTENT = 0.8
"""Share of the structures that energies per atom must explain."""

_REMAINDER = 0.03
"""Largest share of molecular energies that is due to bonds, but for hydrogen alone."""

_SAME_BONDS = 3.0
"""Factor by which the energy of bonds may differ from a typical one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Composition:
    """A composition with its median energy.

    Attributes:
        numbers: atomic numbers, ascending.
        energy: as read, eV.
    """

    numbers: tuple[int, ...]
    energy: float

    def is_total(self, factor: float = 1.0) -> bool:
        """Whether the energy, times a factor, may be that of all electrons."""
        free = Hartree * sum(_all_electron(z) for z in self.numbers)
        deepest = 1.1 if max(self.numbers) > _RELATIVISTIC else _DEEPEST
        least = deepest * free - _MOST_BOUND * len(self.numbers)
        return least <= self.energy * factor <= _SHALLOWEST * free

    def is_valence(self, factor: float = 1.0) -> bool:
        """Whether the energy, times a factor, may be that of the valence electrons."""
        for table in (_TIGHT_BINDING, _CORE_POTENTIAL):
            if all(z in table for z in self.numbers):
                free = Hartree * sum(table[z] for z in self.numbers)
                if _VALENCE[0] <= self.energy * factor / free <= _VALENCE[1]:
                    return True
        return False

    @property
    def is_total_per_atom(self) -> bool:
        """Whether the energy, times the number of atoms, may be that of all electrons.

        Hydrogen alone does not tell: H2+ has about half the energy of H2.
        """
        return max(self.numbers) > 2 and len(self.numbers) > 1 and self.is_total(len(self.numbers))

    @property
    def is_valence_per_atom(self) -> bool:
        """The same of the valence electrons."""
        return len(self.numbers) > 1 and self.is_valence(len(self.numbers))

    @property
    def is_relative(self) -> bool:
        """Whether the energy may be one in eV that is relative to something."""
        n_hydrogen = self.numbers.count(1)
        bound = _MOST_BOUND_HYDROGEN * n_hydrogen
        return self.energy > -bound - _MOST_BOUND * (len(self.numbers) - n_hydrogen)

    @property
    def is_too_deep(self) -> bool:
        """Whether no electrons at all give such an energy."""
        free = Hartree * sum(_all_electron(z) for z in self.numbers)
        return self.energy < 1.25 * free - _MOST_BOUND * len(self.numbers)


class TotalEnergyCheck:
    """Collects energies of structures, of whose elements no free atoms are known.

    Args:
        level: of theory.
    """

    def __init__(self, level: str) -> None:
        self._level = level
        self._energies: dict[tuple[int, ...], list[float]] = {}

    def add(self, atomic_numbers: NDArray[np.int64], energy: float) -> None:
        """Notes a structure; one without an energy is passed over."""
        if math.isfinite(energy):
            numbers = tuple(sorted(atomic_numbers.tolist()))
            self._energies.setdefault(numbers, []).append(energy)

    def problems(self) -> list[Problem]:
        """Reports energies that another unit explains and eV does not."""
        found = [
            _Composition(numbers=numbers, energy=float(np.median(energies)))
            for numbers, energies in self._energies.items()
        ]
        strange = [c for c in found if not (c.is_total() or c.is_valence() or c.is_relative)]
        alone = [c for c in strange if c.is_too_deep or max(c.numbers) <= _LIGHT]
        per_atom = [c for c in alone if c.is_total_per_atom]
        for _, factor in _MISTAKES:
            hit = [c for c in alone if c.is_total(factor)]
            likely = factor in _LIKELY or all(c.is_too_deep for c in hit)
            if hit and likely and len(hit) >= len(per_atom):
                return [self._problem(hit, len(found))]
        if per_atom:
            return [self._problem(per_atom, len(found), per_atom=True)]
        if len(found) >= _ENOUGH and not all(c.is_total() or c.is_valence() for c in found):
            for _, factor in _MISTAKES:
                if all(c.is_total(factor) for c in found) or (
                    factor in _LIKELY and all(c.is_valence(factor) for c in found)
                ):
                    return [self._problem(found, len(found))]
            # relative energies times the number of atoms may meet valence energies of one size
            several = len({len(c.numbers) for c in found}) > 1 and bool(strange)
            if all(c.is_total_per_atom for c in found) or (
                several and all(c.is_valence_per_atom for c in found)
            ):
                return [self._problem(found, len(found), per_atom=True)]
        deep = [c for c in found if c.is_too_deep]
        return [self._problem(deep, len(found))] if deep else []

    def _problem(
        self, hit: Sequence[_Composition], n_all: int, *, per_atom: bool = False
    ) -> Problem:
        first = hit[0]
        fitting = [
            units
            for units, factor in _MISTAKES
            if all(c.is_total(factor) or c.is_valence(factor) for c in hit)
        ]
        free = Hartree * sum(_all_electron(z) for z in first.numbers)
        symbols = Counter(chemical_symbols[z] for z in first.numbers)
        formula = Formula.from_dict(symbols).format("hill")
        units = ", or ".join([PER_ATOM] * per_atom + fitting[:_SHOWN])
        if not per_atom and all(c.is_total_per_atom for c in hit):
            units, per_atom = f"{units}, or {PER_ATOM}", True
        remedy = f"{PER_ATOM_REMEDY}{REMEDY}" if per_atom else REMEDY
        why = f"as if {units}; {remedy}" if units else "in no unit known"
        what = (
            f"{self._level}: energies of {len(hit)} of {counted(n_all, 'composition')} are no "
            f"total energies "
            f"in eV ({formula}: read as {first.energy:.6g} eV, the electrons of "
            f"its atoms have about {free:.6g} eV), {why}"
        )
        return Problem(severity="warning", what=what)


def _all_electron(z: int) -> float:
    """Energy of a free atom, hartree; the series of doi:10.1103/PhysRevA.24.2353."""
    if z in _ALL_ELECTRON:
        return _ALL_ELECTRON[z]
    return -0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.269900 * z ** (5 / 3)


def _mistakes() -> list[tuple[str, float]]:
    """What may have been mistaken for what, with the factor that mends it, likeliest first."""
    pairs = [(held, read) for held in ENERGY for read in ENERGY if ENERGY[held] != ENERGY[read]]
    pairs.sort(key=lambda pair: (pair[1] != "ev", pair[0] != "hartree"))
    return [(f"{held} were read as {read}", ENERGY[held] / ENERGY[read]) for held, read in pairs]


_MISTAKES = tuple(_mistakes())


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
            f"read as {read}; give the right unit of coordinates in the file or its description "
            "(spec=FILE.yaml, --spec)",
        )


WEAKEST, STRONGEST = 0.6, 40.0
"""eV; mean energies of bonds that no unit in eV explains."""


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
        self._bonds_per_atom: list[float] = []
        self._relative: list[float] = []
        self._others = TotalEnergyCheck(level)
        self._groups = EnergyGroups(level)

    def add(self, frame: Frame, n_bonds: int) -> None:
        """Notes a structure that has an energy."""
        numbers = frame.system.atomic_numbers.tolist()
        energy = frame.labels[self._level].energy
        self._groups.add(frame)
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
            self._bonds_per_atom.append((free - len(numbers) * energy) / n_bonds)
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
        found = self._others.problems() or (self._by_atoms() if bonds else [])
        return [*self._groups.problems(), *found]

    def _per_atom(self) -> bool:
        """Whether bonds have a sound energy if energies are taken for those of an atom, only."""
        if not self._bonds or WEAKEST <= np.median(self._bonds) <= STRONGEST:
            return False
        found = np.array(self._bonds_per_atom)
        sound = float(((found > WEAKEST) & (found < STRONGEST)).mean())
        typical = 1 / _SAME_BONDS < np.median(found) / BOND_ENERGY < _SAME_BONDS
        return bool(sound >= _CONSISTENT and typical)

    def _by_atoms(self) -> list[Problem]:
        if self._per_atom():
            others = _explain(float(np.median(self._ratios)), _SAME_ATOMS) if self._ratios else ""
            units = f"{PER_ATOM}, or {others}" if others else PER_ATOM
            what = (
                f"{self._level}: energies are no total energies (of "
                f"{counted(len(self._bonds), 'structure')}, beside the free atoms), as if {units}; "
                f"{PER_ATOM_REMEDY}{REMEDY}"
            )
            return [Problem(severity="warning", what=what)]
        if self._ratios:
            ratio = float(np.median(self._ratios))
            if units := self._other_zero(ratio) or _explain(ratio, _SAME_ATOMS):
                what = (
                    f"{self._level}: energies are {ratio:.3g} times the sum of the free atoms "
                    f"(median of {counted(len(self._ratios), 'structure')}; expected 1 to "
                    f"1.3), as if "
                    f"{units}; give the right zero of energies and of isolated atoms, or "
                    f"{REMEDY.removeprefix('give ')}"
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
                    f"as if {units}; {REMEDY}"
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
