"""Structures with everything that fragments must cope with."""

import numpy as np
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from tlpot.structures import build_peptide


def peptide(sequence: str | list[str], **settings) -> Atoms:
    """A built peptide, atoms shaken a little so that nothing is symmetric."""
    atoms = build_peptide(sequence, **settings)
    rng = np.random.default_rng(len(atoms))
    atoms.positions += 0.03 * rng.normal(size=atoms.positions.shape)
    return atoms


def bridged() -> Atoms:
    """Two chains with a disulfide, charged ends, Gly and Pro; a ligand and a water."""
    one = peptide(["GLY", "CYS", "PRO", "ALA"], n_cap="NH3+", c_cap="COO-")
    two = peptide(["ALA", "CYS", "LYS"])
    one, sulfur, direction = _without_thiol_hydrogen(one)
    two, other, _ = _without_thiol_hydrogen(two)
    rng = np.random.default_rng(5)
    joined = None
    while joined is None:
        moved = two.copy()
        moved.positions = Rotation.random(random_state=rng).apply(two.positions)
        moved.positions += one.positions[sulfur] + 2.05 * direction - moved.positions[other]
        joined = _joined(one, moved, sulfur, len(one) + other)
    for name in ("C6H6", "H2O"):
        joined = _beside(joined, molecule(name), rng)
    joined.info["charge"] = 1
    return joined


def _without_thiol_hydrogen(atoms: Atoms) -> tuple[Atoms, int, np.ndarray]:
    sulfur = int(np.flatnonzero(atoms.numbers == 16)[0])
    distances = atoms.get_distances(sulfur, range(len(atoms)))
    distances[atoms.numbers != 1] = np.inf
    hydrogen = int(distances.argmin())
    direction = atoms.positions[hydrogen] - atoms.positions[sulfur]
    del atoms[hydrogen]
    sulfur -= hydrogen < sulfur
    return atoms, sulfur, direction / np.linalg.norm(direction)


def _joined(one: Atoms, two: Atoms, a: int, b: int) -> Atoms | None:
    both = Atoms(
        np.concatenate([one.numbers, two.numbers]), np.concatenate([one.positions, two.positions])
    )
    apart = np.linalg.norm(one.positions[:, None] - two.positions[None], axis=2)
    apart[a, b - len(one)] = 9.0
    return both if apart.min() > 2.2 else None


def _beside(atoms: Atoms, guest: Atoms, rng: np.random.Generator) -> Atoms:
    while True:
        moved = Rotation.random(random_state=rng).apply(guest.positions)
        moved = moved + atoms.positions[rng.integers(len(atoms))] + 4.0 * rng.normal(size=3)
        nearest = np.linalg.norm(atoms.positions[:, None] - moved[None], axis=2).min()
        if 2.3 < nearest < 3.2:
            return atoms + Atoms(guest.numbers, moved)
