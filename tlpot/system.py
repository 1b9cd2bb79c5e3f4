"""One structure as the rest of tlpot sees it: arrays in Å, with charge and multiplicity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import GeometryError

if TYPE_CHECKING:
    from ase import Atoms

NO_CELL = np.zeros((3, 3))
NO_PBC = np.zeros(3, dtype=bool)


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

    atomic_numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    charge: int = 0
    spin: int = 1

    @classmethod
    def from_atoms(cls, atoms: Atoms) -> System:
        """Reads an `ase.Atoms`; charge and spin come from ``atoms.info``, default 0 and 1.

        Raises:
            GeometryError: charge or spin is not a whole number, or spin is below 1.
        """
        return cls(
            atomic_numbers=np.asarray(atoms.numbers, dtype=np.int64),
            positions=np.asarray(atoms.positions, dtype=np.float64),
            cell=np.asarray(atoms.cell.array, dtype=np.float64),
            pbc=np.asarray(atoms.pbc, dtype=bool),
            charge=_whole(atoms.info.get("charge", 0), "charge"),
            spin=_whole(atoms.info.get("spin", 1), "spin", least=1),
        )

    def __len__(self) -> int:
        return len(self.atomic_numbers)


def check_system(system: System, name: str = "the structure") -> None:
    """Checks shapes, finiteness and the cell.

    Args:
        system: the structure.
        name: what to call it in a message (a file and frame, say).

    Raises:
        GeometryError: no atoms, wrong shapes, NaN or infinite positions, or a zero or
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


def _check_cell(cell: NDArray[np.float64], pbc: NDArray[np.bool_], name: str) -> None:
    if not np.isfinite(cell).all():
        raise GeometryError(f"{name}: the cell holds NaN or infinity: {cell.tolist()}")
    periodic = cell[pbc]
    lengths = np.linalg.norm(periodic, axis=1)
    if (lengths < 1e-6).any():
        raise GeometryError(
            f"{name}: pbc is {pbc.tolist()} but a periodic lattice vector is zero: "
            f"{cell.tolist()}; set the cell, or pbc=False"
        )
    volume = np.sqrt(max(np.linalg.det(periodic @ periodic.T), 0.0))
    if volume < 1e-6 * lengths.prod():
        raise GeometryError(
            f"{name}: the periodic lattice vectors are linearly dependent: {cell.tolist()}"
        )


def _whole(value: object, key: str, least: int | None = None) -> int:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if number != round(number, 0) or (least is not None and number < least):
        kind = "a whole number" if least is None else f"a whole number of at least {least}"
        raise GeometryError(f"atoms.info[{key!r}] is {value!r}, expected {kind}")
    return int(number)
