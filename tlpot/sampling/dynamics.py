"""Geometries from Langevin dynamics with any ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from tlpot.dynamics import MDRunner, MDSettings, draw_velocities
from tlpot.sampling.candidate import SampledGeometry
from tlpot.topology import MolecularGraph

TIMESTEP = 1.0
"""fs."""
INTERVAL = 20
"""Steps between two geometries."""
EQUILIBRATION = 100
"""Steps before the first."""


def dynamics(
    starts: Sequence[Atoms],
    molecule: MolecularGraph,
    calculator: Calculator,
    *,
    temperature: float,
    count: int,
    seed: int,
    interval: int = INTERVAL,
) -> tuple[list[SampledGeometry], int]:
    """Runs one trajectory from each start and takes every so many steps a geometry.

    A trajectory that breaks or makes a bond, or whose energy is no number, ends there.

    Args:
        starts: geometries of one fragment, in turn.
        molecule: the bonds that have to last.
        calculator: any.
        temperature: K.
        count: geometries wanted, over all starts.
        seed: of velocities and noise.
        interval: steps between two geometries.

    Returns:
        The geometries with energies and forces, and how many were lost to trajectories that
        ended early.
    """
    kept: list[SampledGeometry] = []
    shares = [len(part) for part in np.array_split(np.arange(count), len(starts))]
    for number, (start, share) in enumerate(zip(starts, shares, strict=True)):
        if share == 0:
            continue
        kept += _trajectory(
            start, molecule, calculator, temperature, share, seed + number, interval
        )
    return kept, count - len(kept)


def _trajectory(
    start: Atoms,
    molecule: MolecularGraph,
    calculator: Calculator,
    temperature: float,
    count: int,
    seed: int,
    interval: int,
) -> list[SampledGeometry]:
    atoms = start.copy()
    atoms.calc = calculator
    settings = MDSettings(
        temperature=temperature,
        timestep=TIMESTEP,
        steps=EQUILIBRATION + count * interval,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    draw_velocities(atoms, settings, (0, 0), rng)
    found: list[SampledGeometry] = []
    atoms.get_potential_energy()  # what the calculator refuses is no explosion
    run = MDRunner(atoms, settings, rng)
    for step in range(interval, settings.steps + 1, interval):
        try:
            run.advance(interval)
            energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        except Exception:  # programs have their own errors for what has flown apart
            break
        fast = float(np.abs(atoms.get_velocities()).max(initial=0.0)) * TIMESTEP * units.fs > 0.5
        if fast or not np.isfinite(energy) or not molecule.intact(atoms):
            break
        if step > EQUILIBRATION:
            found.append(
                SampledGeometry(
                    positions=atoms.positions.copy(),
                    method="md",
                    temperature=temperature,
                    seed=seed,
                    step=step,
                    energy=energy,
                    forces=forces.copy(),
                )
            )
    return found
