"""A geometry on its way into a dataset, and where it came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One geometry of a fragment.

    Attributes:
        positions: [n_atoms, 3], Å.
        method: ``relaxed``, ``scan``, ``modes``, ``md`` or ``dimer``.
        temperature: K; NaN where the method has none.
        seed: of the random numbers that made it.
        step: of the trajectory, or number of the draw.
        energy: of the calculator that sampled, eV; NaN before it was asked.
        forces: [n_atoms, 3], eV/Å; NaN before.
    """

    positions: NDArray[np.float64]
    method: str
    temperature: float
    seed: int
    step: int
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

    def evaluated(self, atoms: Atoms, calculator: Calculator) -> Candidate:
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
