"""Periodic structures: a capped amino acid in water, and water alone in a small cell."""

from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.geometry import get_distances
from scipy.spatial.transform import Rotation
from structures import peptide
from torch import Tensor

from tlpot.graph import AtomGraph, segment_sum

SKEWED = np.array([[11.0, 0.0, 0.0], [2.5, 9.0, 0.0], [-1.5, 2.0, 8.5]])
"""A capped amino acid is almost as long as it."""
SMALL = np.array([[4.9, 0.0, 0.0], [1.6, 4.6, 0.0], [0.7, -1.1, 5.2]])
"""Waters meet their own images, and others through several boundaries."""


def solvated(n_waters: int = 4, cell: np.ndarray = SKEWED, pbc=True, sequence="A") -> Atoms:
    """A capped peptide and waters at random places, unwrapped, no two too close."""
    atoms = peptide(sequence)
    atoms.positions -= atoms.positions.mean(axis=0)
    atoms.set_cell(cell)
    atoms.pbc = pbc
    return add_waters(atoms, n_waters, apart=2.0)


def waters(n: int = 2, cell: np.ndarray = SMALL, pbc=True) -> Atoms:
    """Waters that meet through the boundaries of a small cell."""
    return add_waters(Atoms(cell=cell, pbc=pbc), n, apart=1.7)


def add_waters(atoms: Atoms, n: int, *, apart: float) -> Atoms:
    """Adds them where no periodic image of another atom is within `apart` Å."""
    rng, one = np.random.default_rng(7), molecule("H2O")
    box = atoms.cell.array.copy()
    box[~atoms.pbc] = 4.0 * np.eye(3)[~atoms.pbc]
    for _ in range(n):
        for _ in range(2000):
            where = Rotation.random(random_state=rng).apply(one.positions)
            where += rng.uniform(-0.5, 0.5, 3) @ box
            new = Atoms(one.numbers, where, cell=atoms.cell, pbc=atoms.pbc)
            both = atoms + new
            if _closest(both, len(new)) > apart:
                atoms = both
                break
        else:
            raise AssertionError("there is no room for so many waters")
    return atoms


def _closest(atoms: Atoms, n: int) -> float:
    """From the last n atoms to others and to images of themselves, Å."""
    last, nearest = atoms.positions[-n:], np.inf
    if len(atoms) > n:
        args = {"cell": atoms.cell, "pbc": atoms.pbc}
        nearest = get_distances(last, atoms.positions[:-n], **args)[1].min()
    steps = np.stack(np.meshgrid(*[(-1, 0, 1) if p else (0,) for p in atoms.pbc]), -1)
    for step in steps.reshape(-1, 3):
        if step.any():
            apart = last[:, None] - last[None] + step @ atoms.cell.array
            nearest = min(nearest, np.linalg.norm(apart, axis=2).min())
    return float(nearest)


def rewrapped(atoms: Atoms, seed: int = 0, *, shift: bool = True) -> Atoms:
    """Every atom moved by lattice vectors of its own, and all of them by any vector."""
    rng = np.random.default_rng(seed)
    moved = atoms.copy()
    images = rng.integers(-2, 3, (len(atoms), 3)) * atoms.pbc
    moved.positions += images @ atoms.cell.array + shift * rng.normal(size=3)
    return moved


@dataclass(frozen=True, kw_only=True)
class PairToy:
    """Σ Z_a Z_b (1 − (r/R)²)⁴ over pairs: what pairs of molecules reproduce exactly."""

    cutoff: float = 3.5
    elements: tuple[int, ...] = (1, 6, 7, 8)
    uses_charge: bool = False

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        squares = (graph.edge_vectors() ** 2).sum(dim=1)
        numbers = graph.atomic_numbers.double()
        near = (1.0 - squares / self.cutoff**2).clamp(min=0.0) ** 4
        near = near * torch.sqrt(numbers[graph.center] * numbers[graph.neighbor])
        return 0.5 * segment_sum(near, graph.center, graph.n_atoms) - numbers
