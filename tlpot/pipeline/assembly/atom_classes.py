"""Kinds of atoms whose errors have different reasons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tlpot.fragments import Topology
from tlpot.fragments.contacts import close_atoms
from tlpot.pipeline.assembly.cut import Cut

_ACCEPTORS = {7: 2, 8: 2, 16: 2, 9: 1, 17: 1}
"""Most bonds that an atom with a free lone pair has."""
_REACH = 2.5
_STRAIGHT = -0.5
"""Cosine of 120 degrees."""
_BACKBONE = ("amino", "alpha", "carbonyl")


def atom_classes(cut: Cut) -> dict[str, NDArray[np.bool_]]:
    """Returns which atoms are in each class, [n_atoms]; an atom may be in several, or in none.

    - ``backbone``, ``side chain`` and ``molecule`` (ligands, water, ions) by the kind of unit;
    - ``cap-adjacent``: at an end of a bond that a fragment cuts;
    - ``hydrogen-bonded``: donor, hydrogen and acceptor of `hydrogen_bonds`;
    - ``charged``: in a unit with a formal charge.
    """
    topology, n_atoms = cut.topology, len(cut.positions)
    kinds = np.array([unit.kind for unit in topology.units])[topology.unit_of]
    charges = np.array([unit.charge for unit in topology.units])[topology.unit_of]
    capped = np.zeros(n_atoms, dtype=bool)
    for fragment in cut.fragments:
        capped[fragment.host] = True
        capped[fragment.gone] = True
    bonded = np.zeros(n_atoms, dtype=bool)
    bonded[hydrogen_bonds(topology, cut.positions)] = True
    found = {
        "backbone": np.isin(kinds, _BACKBONE),
        "side chain": kinds == "side",
        "molecule": kinds == "molecule",
        "cap-adjacent": capped,
        "hydrogen-bonded": bonded,
        "charged": charges != 0,
    }
    return {name: mask for name, mask in found.items() if mask.any()}


def hydrogen_bonds(topology: Topology, positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns donor, hydrogen and acceptor of each hydrogen bond, [n_bonds, 3].

    H···A below 2.5 Å and D-H···A above 120°, for D of N, O or S and A with a lone pair, as of
    Baker and Hubbard, doi:10.1016/0079-6107(84)90007-5.
    """
    numbers = topology.atomic_numbers
    n_bonds = np.bincount(topology.bonds.ravel(), minlength=len(numbers))
    donor = np.full(len(numbers), -1, dtype=np.int64)
    for i, j in topology.bonds.tolist():
        for hydrogen, heavy in ((i, j), (j, i)):
            if numbers[hydrogen] == 1 and numbers[heavy] in (7, 8, 16):
                donor[hydrogen] = heavy
    accepts = np.array(
        [n <= _ACCEPTORS.get(int(z), -1) for z, n in zip(numbers, n_bonds, strict=True)]
    )
    pairs = close_atoms(positions, _REACH)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    hydrogen, acceptor = pairs[(donor[pairs[:, 0]] >= 0) & accepts[pairs[:, 1]]].T
    heavy = donor[hydrogen]
    back = positions[heavy] - positions[hydrogen]
    on = positions[acceptor] - positions[hydrogen]
    lengths = np.linalg.norm(back, axis=1) * np.linalg.norm(on, axis=1)
    straight = np.einsum("ij,ij->i", back, on) < _STRAIGHT * lengths
    chosen = straight & (acceptor != heavy)
    return np.stack([heavy, hydrogen, acceptor], axis=1)[chosen]
