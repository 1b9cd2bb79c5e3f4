"""Acetylacetone at PBE-D3/def2-SVP (task 4), labelled with GFN2-xTB, and more such geometries.

Data: Batatia et al., arXiv:2205.06643; davkovacs/BOTNet-datasets.
"""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from labelled import Group, gfn2_calculator, with_gfn2, write_groups

PBE = "pbe-d3/def2-svp"
TEST = "acetylacetone, 300 K test"
TEMPERATURES = (300.0, 300.0, 600.0, 600.0)
"""K, one trajectory of GFN2-xTB for each; they start from different training geometries."""
FRAMES = 375
"""Of each trajectory."""
EVERY = 20
"""Steps of 0.5 fs between frames."""


def write_acetylacetone(folder: Path, path: Path) -> None:
    """Writes 500 training and 650 test frames with both levels, and frames with GFN2-xTB only."""
    train = ase.io.read(folder / "train_300K.xyz", index=":")
    test = ase.io.read(folder / "test_MD_300K.xyz", index=":")
    sampled = np.concatenate(
        [
            _trajectory(train[k * len(train) // len(TEMPERATURES)], temperature, seed=k)
            for k, temperature in enumerate(TEMPERATURES)
        ]
    )
    groups = [
        _group("train", "acetylacetone", train),
        _group("test", TEST, test),
        Group(
            name="sampled",
            molecule="acetylacetone",
            numbers=train[0].numbers,
            positions=sampled,
            energies={},
            forces={},
        ),
    ]
    write_groups(path, with_gfn2(groups))


def _group(name: str, molecule: str, frames: list[Atoms]) -> Group:
    return Group(
        name=name,
        molecule=molecule,
        numbers=frames[0].numbers,
        positions=np.array([atoms.positions for atoms in frames]),
        energies={PBE: np.array([atoms.get_potential_energy() for atoms in frames])},
        forces={PBE: np.array([atoms.get_forces() for atoms in frames])},
    )


def _trajectory(start: Atoms, temperature: float, seed: int) -> np.ndarray:
    """Returns positions of a Langevin trajectory, [FRAMES, n_atoms, 3]."""
    atoms = Atoms(start.numbers, start.positions, calculator=gfn2_calculator())
    rng = np.random.default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    dynamics = Langevin(
        atoms, 0.5 * units.fs, temperature_K=temperature, friction=0.01 / units.fs, fixcm=False,
        rng=rng,
    )  # fmt: skip
    positions = []
    for _ in range(FRAMES):
        dynamics.run(EVERY)
        positions.append(atoms.positions.copy())
    return np.array(positions)
