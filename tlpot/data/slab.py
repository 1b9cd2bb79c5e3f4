"""Decoded structures and labels of consecutive frames, as arrays in eV and Å."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import LabelKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """Structures of consecutive rows of a section.

    Attributes:
        numbers: [n_atoms], or [n_rows, n_atoms] where 0 marks unused places.
        positions: [n_rows, n_atoms, 3], Å.
        cell: [n_rows, 3, 3], Å, or None.
        pbc: [n_rows, 3], or None.
        charge: [n_rows], e.
        spin: [n_rows], multiplicity.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64] | None
    pbc: NDArray[np.bool_] | None
    charge: NDArray[np.int64]
    spin: NDArray[np.int64]

    @property
    def n_bytes(self) -> int:
        """Memory."""
        arrays = (self.numbers, self.positions, self.cell, self.pbc, self.charge, self.spin)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelLabels:
    """Labels of consecutive rows of a section at one level.

    Attributes:
        energy: [n_rows], total, eV, NaN where absent.
        forces: [n_rows, n_atoms, 3], eV/Å, or None.
        stress: [n_rows, 3, 3], eV/Å³, or None.
        has_forces: [n_rows], where every component is finite.
        has_stress: [n_rows].
        damaged: by kind, which rows hold numbers that are neither a label nor its absence, which
            is NaN throughout, [n_rows]; these rows have no label of the kind.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64] | None
    stress: NDArray[np.float64] | None
    has_forces: NDArray[np.bool_]
    has_stress: NDArray[np.bool_]
    damaged: Mapping[LabelKind, NDArray[np.bool_]]

    @property
    def n_bytes(self) -> int:
        """Memory."""
        arrays = (
            self.energy,
            self.forces,
            self.stress,
            self.has_forces,
            self.has_stress,
            *self.damaged.values(),
        )
        return sum(array.nbytes for array in arrays if array is not None)

    def present(self, kind: LabelKind) -> NDArray[np.bool_]:
        """Which rows carry a label, [n_rows]."""
        if kind == "energy":
            return np.isfinite(self.energy)
        return self.has_forces if kind == "forces" else self.has_stress
