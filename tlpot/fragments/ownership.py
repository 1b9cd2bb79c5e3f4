"""The residue of each atom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tlpot.fragments.topology import Topology


def residue_of(topology: Topology) -> NDArray[np.int64]:
    """Returns the residue of each atom, [n_atoms].

    Atoms of a unit that several residues share go to the residue whose alpha unit is fewest
    bonds away, which halves a disulfide at its bridge.
    """
    owner = np.full(len(topology.atomic_numbers), -1, dtype=np.int64)
    shared: set[int] = set()
    for unit in topology.units:
        if len(unit.residues) == 1:
            owner[list(unit.atoms)] = unit.residues[0]
        else:
            shared |= set(unit.atoms)
    bonded: dict[int, list[int]] = {}
    for i, j in topology.bonds.tolist():
        bonded.setdefault(i, []).append(j)
        bonded.setdefault(j, []).append(i)
    front = [atom for atom in range(len(owner)) if owner[atom] >= 0]
    while shared:
        reached: dict[int, int] = {}
        for atom in front:
            for other in bonded.get(atom, []):
                if other in shared:
                    reached.setdefault(other, int(owner[atom]))
        if not reached:  # a shared unit without any backbone next to it
            for unit in topology.units:
                for atom in shared & set(unit.atoms):
                    owner[atom] = unit.residues[0]
            break
        for atom, residue in reached.items():
            owner[atom] = residue
        shared -= reached.keys()
        front = list(reached)
    return owner
