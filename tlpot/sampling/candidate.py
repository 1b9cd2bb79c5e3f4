"""Geometries on their way into a dataset, and the choice of some to a budget."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from tlpot.fragments import farthest


@dataclass(frozen=True, kw_only=True)
class SampledGeometry:
    """One geometry of a fragment.

    Attributes:
        positions: [n_atoms, 3], Å.
        method: ``relaxed``, ``scan``, ``modes``, ``md`` or ``dimer``.
        seed: of the random numbers that made it.
        step: of the trajectory, or number of the draw.
        temperature: K; NaN where the method has none.
        energy: of the calculator that sampled, eV; NaN before it was asked.
        forces: [n_atoms, 3], eV/Å; NaN before.
    """

    positions: NDArray[np.float64]
    method: str
    seed: int
    step: int
    temperature: float = float("nan")
    energy: float = float("nan")
    forces: NDArray[np.float64] = field(default_factory=lambda: np.full((1, 3), np.nan))

    def placed(self, atoms: Atoms) -> Atoms:
        """The fragment in this geometry, without calculator.

        Args:
            atoms: the fragment.
        """
        moved = atoms.copy()
        moved.calc = None
        moved.set_positions(self.positions)
        return moved

    def evaluated(self, atoms: Atoms, calculator: Calculator) -> SampledGeometry:
        """The candidate with energy and forces, unless it has them.

        Args:
            atoms: the fragment.
            calculator: any.

        Raises:
            Exception: whatever the calculator raises.
        """
        if np.isfinite(self.energy):
            return self
        moved = self.placed(atoms)
        moved.calc = calculator
        return replace(
            self, energy=float(moved.get_potential_energy()), forces=moved.get_forces().copy()
        )


def stream(seed: int, *names: object) -> int:
    """A seed of its own for every method and fragment, the same in every process and order.

    Args:
        seed: of the whole sampling.
        names: what it is for.
    """
    text = "|".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def scaled(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Features as distances are taken in: each divided by its standard deviation.

    Features that vary by less than 10⁻³ of the most variable one are left out, as they would be
    made of noise.

    Args:
        features: [n, d].

    Returns:
        [n, at most d].
    """
    spread = features.std(axis=0)
    kept = spread > 1e-3 * spread.max(initial=0.0)
    result: NDArray[np.float64] = (features[:, kept] - features[:, kept].mean(0)) / spread[kept]
    return result


def farthest_points(
    rows: NDArray[np.float64], count: int, first: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Picks the row that is farthest from those picked, again and again, see `farthest`.

    Args:
        rows: [n, d].
        count: how many; all if there are fewer.
        first: the row to begin with.

    Returns:
        Indices in order of picking, and the distance of every row to the nearest one picked, [n].
    """
    count = min(count, len(rows))
    if count == 0:
        return np.zeros(0, dtype=np.int64), np.full(len(rows), np.inf)
    more, away = farthest(lambda k: np.linalg.norm(rows - rows[k], axis=1), [first], count - 1)
    return np.array([first, *more], dtype=np.int64), away


def most_uncertain(
    uncertainty: NDArray[np.float64], rows: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Picks unlike geometries among the least certain: farthest points of the top 3 × count.

    Args:
        uncertainty: [n].
        rows: scaled features, [n, d].
        count: how many; all if there are fewer.

    Returns:
        Indices, the least certain first.
    """
    top = np.argsort(-uncertainty, kind="stable")[: 3 * count]
    chosen, _ = farthest_points(rows[top], count, 0)
    return top[chosen].astype(np.int64)
