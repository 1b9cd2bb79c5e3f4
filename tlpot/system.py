"""One structure as the rest of tlpot sees it: arrays in Å, with charge and multiplicity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlpot.errors import GeometryError
from tlpot.numbers import Bools, Floats, Ints
from tlpot.total_charge import StatedCharge, stated_charge

if TYPE_CHECKING:
    from ase import Atoms

NO_CELL = np.zeros((3, 3))
NO_PBC = np.zeros(3, dtype=bool)

_SHORTEST = 1.2
"""Å; shorter than any lattice vector of matter. Files have 1 x 1 x 1 Å where there is no cell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """A molecule or crystal.

    Attributes:
        atomic_numbers: [n_atoms], int64.
        positions: [n_atoms, 3], Å, float64.
        cell: [3, 3], rows are the lattice vectors, Å; zeros where there is none.
        pbc: [3], bool.
        charge: total charge in e.
        spin: multiplicity 2S + 1.
    """

    atomic_numbers: Ints
    positions: Floats
    cell: Floats
    pbc: Bools
    charge: int = 0
    spin: int = 1

    @classmethod
    def from_atoms(cls, atoms: Atoms) -> System:
        """Reads an `ase.Atoms`, with its charge and multiplicity.

        They are ``atoms.info["charge"]`` and ``atoms.info["spin"]``, or what else states them
        without doubt, see `tlpot.total_charge.stated_charge`; 0 and 1 where nothing does.

        Raises:
            GeometryError: charge or multiplicity is not a whole number, contradicts itself or
                can be understood in two ways.
        """
        stated = stated_charge_of(atoms)
        return cls(
            atomic_numbers=np.asarray(atoms.numbers, dtype=np.int64),
            positions=np.asarray(atoms.positions, dtype=np.float64),
            cell=np.asarray(atoms.cell.array, dtype=np.float64),
            pbc=np.asarray(atoms.pbc, dtype=bool),
            charge=stated.charge or 0,
            spin=1 if stated.spin is None else stated.spin,
        )

    def to_atoms(self) -> Atoms:
        """Returns an `ase.Atoms`; ``info`` has charge and multiplicity unless they are 0 and 1."""
        from ase import Atoms  # here, because it takes its time to load

        stated = (
            {} if (self.charge, self.spin) == (0, 1) else {"charge": self.charge, "spin": self.spin}
        )
        return Atoms(self.atomic_numbers, self.positions, cell=self.cell, pbc=self.pbc, info=stated)

    def __len__(self) -> int:
        return len(self.atomic_numbers)


def stated_charge_of(atoms: Atoms) -> StatedCharge:
    """Returns what an `ase.Atoms` says of its charge and multiplicity.

    Raises:
        GeometryError: see `tlpot.total_charge.stated_charge`.
    """
    return stated_charge(
        atoms.info, atoms.arrays, int(atoms.numbers.sum()), periodic=bool(atoms.pbc.any())
    )


def check_system(system: System, name: str = "the structure") -> None:
    """Checks shapes, finiteness and the cell.

    Args:
        system: the structure.
        name: what to call it in a message (a file and frame, say).

    Raises:
        GeometryError: no atoms, wrong shapes, NaN or infinite positions, or a zero, tiny or
            singular cell along a periodic direction.
    """
    n_atoms = len(system.atomic_numbers)
    if n_atoms == 0:
        raise GeometryError(f"{name} has no atoms")
    if system.positions.shape != (n_atoms, 3):
        raise GeometryError(
            f"{name}: positions have shape {system.positions.shape}, "
            f"expected ({n_atoms}, 3) for {n_atoms} atomic numbers"
        )
    bad = np.flatnonzero(~np.isfinite(system.positions).all(axis=1))
    if bad.size:
        raise GeometryError(
            f"{name}: the position of atom {bad[0]} is {system.positions[bad[0]]}; "
            "every coordinate must be finite (did the simulation explode?)"
        )
    if system.pbc.any():
        _check_cell(system.cell, system.pbc, name)


def _check_cell(cell: Floats, pbc: Bools, name: str) -> None:
    if not np.isfinite(cell).all():
        raise GeometryError(f"{name}: the cell holds NaN or infinity: {cell.tolist()}")
    periodic = cell[pbc]
    lengths = np.linalg.norm(periodic, axis=1)
    if (lengths < 1e-6).any():
        raise GeometryError(
            f"{name}: pbc is {pbc.tolist()} but a periodic lattice vector is zero: "
            f"{cell.tolist()}; set the cell, or pbc=False"
        )
    if (lengths < _SHORTEST).any():
        raise GeometryError(
            f"{name}: a periodic lattice vector is {lengths.min():.3f} Å long, so that every atom "
            "sits on its own image; is it a placeholder for no cell? Set pbc=False, or the cell"
        )
    volume = np.sqrt(max(np.linalg.det(periodic @ periodic.T), 0.0))
    if volume < 1e-6 * lengths.prod():
        raise GeometryError(
            f"{name}: the periodic lattice vectors are linearly dependent: {cell.tolist()}"
        )
