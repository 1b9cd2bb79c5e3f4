"""What every fragment expansion must conserve, in whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import GeometryError
from tlpot.fragments.expansion import Expansion
from tlpot.fragments.fragment import Cutter


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """How often an expansion counts what a structure has, with all pair weights 1.

    Attributes:
        atoms: [n_atoms], 1 each.
        bonds: [n_bonds], 1 each.
        caps: net number of cap atoms of each cut bond and side, 0 each.
        charge: the total charge.
    """

    atoms: NDArray[np.int64]
    bonds: NDArray[np.int64]
    caps: NDArray[np.int64]
    charge: int


def coverage(cutter: Cutter, expansion: Expansion) -> Coverage:
    """Counts atoms, bonds, caps and charge."""
    topology = cutter.topology
    whole = np.rint(expansion.coefficients()).astype(np.int64)
    atoms = np.zeros(len(topology.atomic_numbers), dtype=np.int64)
    bonds = np.zeros(len(topology.bonds), dtype=np.int64)
    caps: dict[tuple[int, int], int] = {}
    charge = 0
    inside = np.zeros(len(atoms), dtype=bool)
    for units, c in zip(expansion.sets, whole.tolist(), strict=True):
        fragment = cutter.cut(units)
        for own in cutter.images.split(units).values():
            real = cutter.cut(own).real
            inside[:] = False
            inside[real] = True
            atoms[real] += c
            bonds += c * inside[topology.bonds].all(axis=1)
        charge += c * fragment.charge
        for key in zip(fragment.host.tolist(), fragment.gone.tolist(), strict=True):
            caps[key] = caps.get(key, 0) + c
    return Coverage(
        atoms=atoms, bonds=bonds, caps=np.array(list(caps.values()), dtype=np.int64), charge=charge
    )


def check_coverage(cutter: Cutter, expansion: Expansion) -> None:
    """Checks that everything counts once.

    Raises:
        GeometryError: something does not, which is a fault of the scheme; atoms are named.
    """
    found = coverage(cutter, expansion)
    wrong = np.flatnonzero(found.atoms != 1)
    broken = cutter.topology.bonds[found.bonds != 1]
    charge = cutter.topology.charge
    if wrong.size or len(broken) or found.caps.any() or found.charge != charge:
        raise GeometryError(
            f"the fragments do not add up to the structure: atoms {wrong[:10].tolist()} and bonds "
            f"{broken[:10].tolist()} are not counted once, net caps {int(abs(found.caps).sum())}, "
            f"charge {found.charge} instead of {charge}"
        )
