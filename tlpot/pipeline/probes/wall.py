"""The energy of two atoms against their distance, and the holes in its repulsive wall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

    distances: NDArray[np.float64]
    energies: NDArray[np.float64]
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


def bond_energy(
    distances: NDArray[np.float64], energies: NDArray[np.float64], bond: float
) -> float:
    """Returns the lowest energy at the distances that a bond may have, eV.

    Args:
        distances: [n], Å, ascending.
        energies: [n], eV.
        bond: sum of the covalent radii, Å.
    """
    window = _window(distances, bond)
    return float(energies[window if len(window) else slice(-1, None)].min())


def find_hole(
    distances: NDArray[np.float64], energies: NDArray[np.float64], bond: float
) -> Hole | None:
    """Returns the deepest hole of a wall.

    Going inwards from the lowest point at the distances of bonds, the energy should never fall.
    A second minimum at a distance that a bond may have is no hole.

    Args:
        distances: [n], Å, ascending.
        energies: [n], eV.
        bond: sum of the covalent radii, Å.
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


def _window(distances: NDArray[np.float64], bond: float) -> NDArray[np.int64]:
    return np.flatnonzero(
        (distances >= _SHORTEST_BOND * bond) & (distances <= _LONGEST_BOND * bond)
    )
