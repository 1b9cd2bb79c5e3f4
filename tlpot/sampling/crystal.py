"""Periodic structures: cells that are strained, and what has to last while atoms move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from tlpot.bond_thresholds import OVERLAP, RADII
from tlpot.errors import ConfigError
from tlpot.numbers import Floats
from tlpot.sampling.candidate import SampledGeometry
from tlpot.sampling.settings import DEFAULT_METHODS, SamplingSettings

CRYSTAL_METHODS = ("strain", "noise", "md")
"""Those of periodic structures where none were asked for."""
_POSSIBLE = (*CRYSTAL_METHODS, "downhill")
_LEAST_STRAIN = 0.25
"""Of the largest."""


class AtomsApart:
    """What has to last in a periodic structure: bonds may break, atoms may not coincide."""

    def intact(self, atoms: Atoms) -> bool:
        """Whether no two atoms, images included, are in one place."""
        return not self.overlaps(atoms)

    def overlaps(self, atoms: Atoms) -> bool:
        """Whether two atoms, images included, are in one place, or nowhere."""
        if not np.isfinite(atoms.positions).all():
            return True
        return bool(len(neighbor_list("d", atoms, OVERLAP * RADII[atoms.numbers])))


def crystal_shares(name: str, settings: SamplingSettings) -> dict[str, int]:
    """Returns how many geometries each method is to make of a periodic structure.

    Raises:
        ConfigError: a method that is for molecules.
    """
    methods = list(settings.weights)
    if settings.methods == DEFAULT_METHODS:
        methods = list(CRYSTAL_METHODS)
    unfit = [method for method in methods if method not in _POSSIBLE]
    if unfit:
        raise ConfigError(
            f"{name} is periodic, and method {unfit[0]} is for molecules; periodic structures have "
            f"{', '.join(_POSSIBLE)}. Set pbc=False if it is a molecule in a box"
        )
    return settings.shares(methods, settings.candidates)


def strained(
    starts: Sequence[Atoms], count: int, largest: float, noise: float, seed: int
) -> list[SampledGeometry]:
    """Strains cells at random and displaces the atoms, each geometry by widths of its own.

    Cells become A (1 + ε) with a symmetric ε: a change of all lengths alike and a tensor of random
    components, both of at most `largest`. Directions that are not periodic stay.

    Args:
        starts: periodic structures of the same atoms, in turn.
        count: geometries wanted.
        largest: of the strains, as a share; the least is a quarter of it.
        noise: largest standard deviation of the displacements, Å.
        seed: of all numbers.
    """
    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        atoms = starts[k % len(starts)].copy()
        width = rng.uniform(_LEAST_STRAIN, 1.0) * largest
        tensor = rng.uniform(-1.0, 1.0, (3, 3))
        inner = _periodic_plane(atoms)
        strain = inner @ (0.25 * (tensor + tensor.T) + 0.5 * rng.uniform(-1.0, 1.0) * np.eye(3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + width * (strain @ inner)), scale_atoms=True)
        shift = rng.uniform(0.0, noise) * rng.standard_normal((len(atoms), 3))
        found.append(
            SampledGeometry(
                positions=atoms.positions + shift,
                cell=atoms.cell.array.copy(),
                method="strain",
                seed=seed,
                step=k,
            )
        )
    return found


def _periodic_plane(atoms: Atoms) -> Floats:
    """Returns the projector on the span of the periodic lattice vectors, [3, 3]."""
    vectors = atoms.cell.array[atoms.pbc]
    span = np.linalg.svd(vectors)[2][: len(vectors)]
    projector: Floats = span.T @ span
    return projector
