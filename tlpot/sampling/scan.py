"""Scans of backbone torsions and rotamers by rigid rotation."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from tlpot.sampling.candidate import Candidate
from tlpot.topology import Molecule, torsions

_ATTEMPTS = 10
_ROTAMERS = np.array([60.0, 180.0, 300.0])
_SPREAD = 15.0
_PLANAR_STEP = np.array([0.0, 90.0, 180.0, 270.0])


def scan(atoms: Atoms, molecule: Molecule, count: int, seed: int) -> list[Candidate]:
    """Turns single bonds: φ and ψ on a jittered grid, all others to rotamers drawn at random.

    Every pair (φ, ψ) has its own cells, in an order of its own. Cells where no draw is free of
    clashes are passed over and others are tried, so that the basins that a molecule has get the
    geometries.

    Args:
        atoms: the fragment, from which bond lengths and angles are taken.
        molecule: its bonds.
        count: geometries wanted.
        seed: of cells and rotamers.

    Returns:
        At most `count`; none if there is nothing to turn.
    """
    found = torsions(molecule)
    if not found:
        return []
    rng = np.random.default_rng(seed)
    side = max(1, int(np.ceil(np.sqrt(count))))
    width = 360.0 / side
    orders = {k: rng.permutation(side * side) for k in range(len(found))}
    kept: list[Candidate] = []
    for draw in range(4 * side * side):
        cell = draw % (side * side)
        for _ in range(_ATTEMPTS):
            moved = atoms.copy()
            moved.calc = None
            last_phi = 0
            for index, torsion in enumerate(found):
                if torsion.name == "phi":
                    last_phi = index
                if torsion.name == "chi":
                    choices = _PLANAR_STEP if _meets_plane(molecule, torsion.atoms) else _ROTAMERS
                    angle = rng.choice(choices) + rng.normal(0.0, _SPREAD)
                else:
                    # φ and the ψ that follows it share a cell of the grid
                    number = int(orders[last_phi][cell])
                    row = number // side if torsion.name == "phi" else number % side
                    angle = (row + rng.uniform()) * width
                torsion.turn(moved.positions, float(angle))
            if not molecule.clashes(moved):
                kept.append(
                    Candidate(
                        positions=moved.positions.copy(),
                        method="scan",
                        temperature=float("nan"),
                        seed=seed,
                        step=draw,
                    )
                )
                break
        if len(kept) == count:
            break
    return kept


def _meets_plane(molecule: Molecule, atoms: tuple[int, ...]) -> bool:
    """Whether one end of the bond is a planar carbon, which has no staggered rotamers."""
    return any(molecule.numbers[a] == 6 and len(molecule.neighbors[a]) == 3 for a in atoms[1:3])
