"""What a structure is made of: bonds, units, residues and chains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.fragments.residue import Chain, Residue
from tlpot.fragments.unit import Unit


@dataclass(frozen=True, kw_only=True)
class Topology:
    """The partition of a structure into units that fragments are made of.

    Every atom is in one unit, every unit in at least one residue, every residue in one chain.
    Bonds between units are those that fragments may cut.

    Attributes:
        atomic_numbers: [n_atoms], int64.
        bonds: [n_bonds, 2], int64, the smaller index first, sorted.
        units: see `Unit`.
        residues: see `Residue`.
        chains: see `Chain`.
    """

    atomic_numbers: NDArray[np.int64]
    bonds: NDArray[np.int64]
    units: tuple[Unit, ...]
    residues: tuple[Residue, ...]
    chains: tuple[Chain, ...]

    @property
    def charge(self) -> int:
        """Total formal charge, e."""
        return sum(unit.charge for unit in self.units)

    @property
    def unit_of(self) -> NDArray[np.int64]:
        """The unit of each atom, [n_atoms]."""
        owner = np.empty(len(self.atomic_numbers), dtype=np.int64)
        for index, unit in enumerate(self.units):
            owner[list(unit.atoms)] = index
        return owner

    @property
    def cuts(self) -> NDArray[np.int64]:
        """The bonds between units, [n_cuts, 2]."""
        owner = self.unit_of
        return self.bonds[owner[self.bonds[:, 0]] != owner[self.bonds[:, 1]]]

    def summary(self) -> str:
        """Returns a table of residues with names, labels and charges; molecules are counted."""
        from tlpot.fragments.table import topology_table  # it needs this module

        return topology_table(self)
