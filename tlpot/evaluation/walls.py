"""Dimer walls: does the energy of two atoms rise all the way as they are pushed together?

Training data rarely holds a bare dimer, and a transfer that moves all weights can open a hole
in the short-range wall that neither training nor test frames show, and through which molecular
dynamics falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols, covalent_radii

from tlpot.energy import EnergyModel
from tlpot.evaluation.predictions import evaluate_systems
from tlpot.numbers import Floats, Ints, short
from tlpot.presentation import Column, Table
from tlpot.system import NO_CELL, NO_PBC, System

_SHORTEST_BOND = 0.7
"""Times the sum of the covalent radii; N≡N and C≡O, the shortest of light elements, have 0.77."""
_LONGEST_BOND = 1.5
_WEAK = 5.0
"""eV above the bond at half its length, where the nuclei of any two atoms repel each other more."""
_RIPPLE = 0.05
"""A fall by less than this, eV, is no hole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hole:
    """A fall of the energy inside the shortest bond.

    Attributes:
        distance: of its bottom, Å.
        depth: of the bottom below the top of the barrier, eV.
        barrier: of the top above the lowest energy at the distances of bonds, eV; 0 if the
            atoms fall in from there.
        barrier_distance: of the top, Å.
    """

    distance: float
    depth: float
    barrier: float
    barrier_distance: float

    @property
    def bottom(self) -> float:
        """Energy at the bottom relative to the bond, eV; atoms that get there gain if it is < 0."""
        return self.barrier - self.depth

    def words(self) -> str:
        """Returns where it is and how it is reached."""
        fate = f"{self.bottom:+.2g} eV" if self.barrier else f"{-self.depth:+.2g} eV"
        how = f"behind {self.barrier:.2g} eV" if self.barrier else "without a barrier"
        return f"{self.distance:.2f} Å, {how}, bottom {fate}"


@dataclass(frozen=True, kw_only=True, slots=True)
class DimerCurve:
    """Energy of two atoms against their distance.

    Attributes:
        distances: [n], Å, ascending.
        energies: [n], eV, relative to the free atoms.
        bond: lowest energy at the distances of bonds, eV.
        hole: the deepest hole of the wall, if there is one.
        step: energy just inside the cutoff, meV; 0 if it fades smoothly.
        kink: force there, meV/Å.
    """

    distances: Floats
    energies: Floats
    bond: float
    hole: Hole | None
    step: float
    kink: float

    @property
    def wall(self) -> float:
        """Energy at the shortest distance, eV."""
        return float(self.energies[0])

    @property
    def rise(self) -> float:
        """Energy at the shortest distance relative to the bond, eV."""
        return self.wall - self.bond

    @property
    def weak(self) -> bool:
        """Whether there is no hole, but hardly a wall either."""
        return self.hole is None and self.rise < _WEAK

    def words(self) -> str:
        """Returns the verdict in a few words."""
        if self.hole is not None:
            return f"hole at {self.hole.words()}"
        return f"weak, {self.rise:.2g} eV above the bond" if self.weak else "sound"

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers, without the curve."""
        hole = self.hole
        return {
            "shortest_distance": float(self.distances[0]),
            "energy_at_shortest": self.wall,
            "energy_at_bond": self.bond,
            "weak": self.weak,
            "lowest_energy": float(self.energies.min()),
            "lowest_distance": float(self.distances[self.energies.argmin()]),
            "cutoff_step": self.step,
            "cutoff_kink": self.kink,
            "hole": None
            if hole is None
            else {
                "distance": hole.distance,
                "depth": hole.depth,
                "bottom": hole.bottom,
                "barrier": hole.barrier,
                "barrier_distance": hole.barrier_distance,
            },
        }


def bond_energy(distances: Floats, energies: Floats, bond: float) -> float:
    """Returns the lowest energy at the distances that a bond may have, eV.

    Distances [n] ascend, Å; `bond` is the sum of the covalent radii, Å.
    """
    window = _window(distances, bond)
    return float(energies[window if len(window) else slice(-1, None)].min())


def find_hole(distances: Floats, energies: Floats, bond: float) -> Hole | None:
    """Returns the deepest hole of a wall.

    Going inwards from the lowest point at the distances of bonds, the energy should never fall.
    A second minimum at a distance that a bond may have is no hole.

    The arguments are those of `bond_energy`.
    """
    window = _window(distances, bond)
    if not len(window):
        return None
    first = int(window[0])
    start = first + int(energies[window].argmin())
    if start == first:  # the minimum may lie further in: metals with multiple bonds
        while start > 0 and energies[start - 1] <= energies[start]:
            start -= 1
        if start == 0:
            depth = float(energies[first] - energies[0])
            return Hole(
                distance=float(distances[0]), depth=depth, barrier=0.0,
                barrier_distance=float(distances[first]),
            ) if depth > _RIPPLE else None  # fmt: skip
    inwards = energies[start::-1]
    top = np.maximum.accumulate(inwards)
    fall = top - inwards
    # the bottom of a hole is a minimum of its own, or the end of the scan; a slope that leads
    # inwards to nothing but the far side of a second bond is none
    bottom = np.append(inwards[:-1] <= inwards[1:], True)
    bottom &= np.insert(inwards[1:] < inwards[:-1], 0, False)
    fall[~bottom | (distances[start::-1] >= _SHORTEST_BOND * bond)] = 0.0
    worst = int(fall.argmax())
    if fall[worst] <= _RIPPLE:
        return None
    at = int(inwards[: worst + 1].argmax())
    return Hole(
        distance=float(distances[start - worst]),
        depth=float(fall[worst]),
        barrier=float(top[worst] - energies[start]),
        barrier_distance=float(distances[start - at]),
    )


def _window(distances: Floats, bond: float) -> Ints:
    return np.flatnonzero(
        (distances >= _SHORTEST_BOND * bond) & (distances <= _LONGEST_BOND * bond)
    )


_SPACING = 0.02
_SHORTEST = 0.5
_LEGEND = (
    "  going inwards from the bond, the energy should only rise; wall: energy at half the sum of",
    "  the covalent radii, relative to the free atoms; weak: less than 5 eV above the bond there;",
    "  behind: climb from the bond to the top in front of the hole; bottom: of the hole, relative",
    "  to the bond. Few data hold bare dimers: judge the walls only, not the bonds",
)
_EDGE = 1e-4
"""How far inside the cutoff, Å, energy and force are looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimer:
    """One pair of elements.

    Attributes:
        elements: atomic numbers.
        new: curve of the new model.
        parent: curve of the parent, if there is one.
    """

    elements: tuple[int, int]
    new: DimerCurve
    parent: DimerCurve | None

    @property
    def name(self) -> str:
        """Such as ``C-H``."""
        first, second = (chemical_symbols[z] for z in self.elements)
        return f"{second}-{first}" if first == "H" else f"{first}-{second}"

    @property
    def worse(self) -> bool:
        """Whether the transfer spoilt a sound wall, or lowered the barrier of a hole by 10 %."""
        if self.parent is None:
            return False
        if self.new.hole is None:
            return self.new.weak and not self.parent.weak and self.parent.hole is None
        before = self.parent.hole
        return before is None or self.new.hole.barrier < 0.9 * before.barrier


@dataclass(frozen=True, kw_only=True, slots=True)
class DimerScan:
    """All pairs of some elements.

    Attributes:
        dimers: pair by pair.
    """

    dimers: tuple[Dimer, ...]

    @property
    def worst_first(self) -> tuple[Dimer, ...]:
        """Pairs with a hole by rising barrier, then the others by rising wall above the bond."""

        def rank(dimer: Dimer) -> tuple[bool, float]:
            hole = dimer.new.hole
            return hole is None, dimer.new.rise if hole is None else hole.barrier

        return tuple(sorted(self.dimers, key=rank))

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers by pair."""
        rows: dict[str, Any] = {}
        for dimer in self.dimers:
            rows[dimer.name] = {"new": dimer.new.as_json()}
            if dimer.parent is not None:
                rows[dimer.name] |= {"parent": dimer.parent.as_json(), "worse": dimer.worse}
        return rows

    def summary(self) -> str:
        """Returns one line."""
        holes = [d for d in self.worst_first if d.new.hole is not None]
        line = f"dimer walls: {_count([d.new for d in self.dimers])}"
        before = [d.parent for d in self.dimers if d.parent is not None]
        if before:
            line += f" (parent: {_count(before)})"
        line += f", of {len(self.dimers)} pairs"
        if holes:
            line += f"; easiest to reach: {holes[0].name}, {holes[0].new.words()}"
        return line

    def text(self) -> str:
        """Returns a table, the worst pair first."""
        columns: list[Column | str] = [
            Column("pair", width=5),
            Column("from (Å)", ".2f", gap=1),
            "wall (eV)",
            "",
        ]
        rows: list[list[Any]] = [
            [dimer.name, dimer.new.distances[0], dimer.new.wall, dimer.new.words()]
            for dimer in self.worst_first
        ]
        if self.dimers[0].parent is not None:
            columns += ["parent: wall", ""]
            for row, dimer in zip(rows, self.worst_first, strict=True):
                assert dimer.parent is not None
                mark = "   ← worse" if dimer.worse else ""
                row += [dimer.parent.wall, dimer.parent.words() + mark]
        table = Table(columns, rows, format=short, indent=2)
        lines = [self.summary(), *_LEGEND, *table.lines()]
        step = max(abs(d.new.step) for d in self.dimers)
        kink = max(abs(d.new.kink) for d in self.dimers)
        lines.append(f"  at the cutoff: energy {step:.2g} meV, force {kink:.2g} meV/Å at most")
        return "\n".join(lines)


def scan_dimers(
    new: EnergyModel,
    elements: Sequence[int],
    *,
    parent: EnergyModel | None = None,
    device: torch.device | str = "cpu",
) -> DimerScan:
    """Scans every pair of `elements` with the new model and its parent, both on `device`.

    Raises:
        UnknownElementError: a model does not know an element.
    """
    pairs = list(combinations_with_replacement(sorted(set(elements)), 2))
    after = _curves(new, pairs, device)
    before = [None] * len(pairs) if parent is None else _curves(parent, pairs, device)
    return DimerScan(
        dimers=tuple(
            Dimer(elements=pair, new=a, parent=b)
            for pair, a, b in zip(pairs, after, before, strict=True)
        )
    )


def _curves(
    model: EnergyModel, pairs: Sequence[tuple[int, int]], device: torch.device | str
) -> list[DimerCurve]:
    edge = model.cutoff - _EDGE
    bonds = [float(covalent_radii[a] + covalent_radii[b]) for a, b in pairs]
    grids = [
        np.linspace(_SHORTEST * s, edge, max(2, round((edge - _SHORTEST * s) / _SPACING) + 1))
        for s in bonds
    ]
    elements = sorted({z for pair in pairs for z in pair})
    systems = [_system((z,), 0.0, model) for z in elements]
    systems += [_system(p, r, model) for p, grid in zip(pairs, grids, strict=True) for r in grid]
    energy = evaluate_systems(model, systems, device=device, forces=False).energy
    free = dict(zip(elements, energy[: len(elements)].tolist(), strict=True))
    ends = evaluate_systems(model, [_system(p, edge, model) for p in pairs], device=device)
    curves, at = [], len(elements)
    for k, ((a, b), grid) in enumerate(zip(pairs, grids, strict=True)):
        energies = energy[at : at + len(grid)] - free[a] - free[b]
        at += len(grid)
        curves.append(
            DimerCurve(
                distances=grid,
                energies=energies,
                bond=bond_energy(grid, energies, bonds[k]),
                hole=find_hole(grid, energies, bonds[k]),
                step=1e3 * float(energies[-1]),
                kink=1e3 * float(ends.forces[2 * k + 1, 0]),
            )
        )
    return curves


def _system(numbers: Sequence[int], distance: float, model: EnergyModel) -> System:
    """Atoms on a line; an odd number of electrons is a doublet where the model reads spins."""
    positions = np.zeros((len(numbers), 3))
    positions[1:, 0] = distance
    return System(
        atomic_numbers=np.array(numbers, dtype=np.int64),
        positions=positions,
        cell=NO_CELL,
        pbc=NO_PBC,
        spin=1 + sum(numbers) % 2 if model.uses_charge else 1,
    )


def _count(curves: Sequence[DimerCurve]) -> str:
    holes, weak = sum(c.hole is not None for c in curves), sum(c.weak for c in curves)
    return f"{holes or 'no'} hole{'' if holes == 1 else 's'}, {weak or 'none'} weak"
