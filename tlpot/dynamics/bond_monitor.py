"""Short dynamics with its bonds watched: runs until one breaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import covalent_radii
from numpy.typing import NDArray

from tlpot.dynamics.integrators import (
    degrees_of_freedom,
    draw_velocities,
    make_dynamics,
    rigid_motions,
    temperature,
)
from tlpot.dynamics.record import Sample
from tlpot.dynamics.settings import MDSettings
from tlpot.errors import GeometryError

BROKEN = 1.6
"""Times the first length of the bond."""
_BONDED = 1.25
"""Times the sum of the covalent radii."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedBonds:
    """Pairs of atoms that are bonded at the start.

    Attributes:
        pairs: [n_bonds, 2].
        images: which copy of the second atom, in cell vectors, [n_bonds, 3].
        lengths: at the start, [n_bonds], Å.
    """

    pairs: NDArray[np.int64]
    images: NDArray[np.int64]
    lengths: NDArray[np.float64]

    @classmethod
    def near(cls, atoms: Atoms) -> WatchedBonds:
        """Returns the pairs closer than 1.25 times the sum of their covalent radii."""
        from ase.neighborlist import neighbor_list

        radii = _BONDED * covalent_radii[atoms.numbers]
        i, j, images, lengths = neighbor_list("ijSd", atoms, list(radii))
        once = i <= j
        return cls(pairs=np.stack([i, j], 1)[once], images=images[once], lengths=lengths[once])

    @classmethod
    def of_molecule(cls, atoms: Atoms, pairs: NDArray[np.int64]) -> WatchedBonds:
        """Returns given pairs, none of which reaches into another copy of the cell."""
        images = np.zeros((len(pairs), 3), dtype=np.int64)
        return cls(pairs=pairs, images=images, lengths=_lengths(atoms, pairs, images))

    def longest(self, atoms: Atoms) -> tuple[str, float]:
        """Returns the bond that is stretched most, and by which factor."""
        if not len(self.pairs):
            return "", 1.0
        ratios = _lengths(atoms, self.pairs, self.images) / self.lengths
        k = int(ratios.argmax())
        i, j = self.pairs[k]
        return f"{atoms.symbols[i]}{i}-{atoms.symbols[j]}{j}", float(ratios[k])


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedRun:
    """What happened.

    Attributes:
        samples: every ``log_every`` steps, the start and the last step included.
        positions: of the samples, [n_samples, n_atoms, 3], Å.
        stretch: longest bond relative to its first length.
        broken: what broke, in words; empty if nothing did.
        seconds_per_step: by the clock.
    """

    samples: tuple[Sample, ...]
    positions: NDArray[np.float64]
    stretch: float
    broken: str
    seconds_per_step: float


def run_watched(
    atoms: Atoms,
    calculator: Calculator,
    settings: MDSettings,
    bonds: WatchedBonds,
    *,
    on_step: Callable[[], object] | None = None,
) -> WatchedRun:
    """Runs dynamics until a bond breaks or the steps are done.

    Args:
        atoms: the start, which moves; velocities are drawn.
        calculator: of the forces.
        settings: of the run. At constant energy it starts at exactly the temperature asked for.
        bonds: to watch.
        on_step: called after each step.

    Raises:
        TLPotError: the calculator refuses the structure as it is at the start.
    """
    rng = np.random.default_rng(settings.seed)
    rigid = rigid_motions(atoms, settings)
    draw_velocities(atoms, settings, rigid, rng)
    n_degrees = degrees_of_freedom(atoms, rigid)
    if settings.ensemble == "nve" and settings.temperature > 0:
        # a few atoms have a temperature by chance; every seed shall be as hard a test
        kelvin = temperature(atoms, n_degrees)
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(settings.temperature / kelvin))
    atoms.calc = calculator
    atoms.get_potential_energy()  # what the calculator refuses now is no explosion
    samples, frames, stretch, broken = [], [], 1.0, ""
    started, n_steps = time.perf_counter(), 0
    dynamics = make_dynamics(atoms, settings, rng).irun(settings.steps)
    for step in range(settings.steps + 1):
        try:
            next(dynamics)
        except GeometryError as error:
            broken = f"step {step}: {error}"
            break
        potential = float(atoms.get_potential_energy())
        total = potential + float(atoms.get_kinetic_energy())
        if not (np.isfinite(total) and np.isfinite(atoms.positions).all()):
            broken = f"step {step}: energy or positions are not finite"
            break
        n_steps = step
        name, ratio = bonds.longest(atoms)
        stretch = max(stretch, ratio)
        if ratio > BROKEN:
            broken = f"step {step}: bond {name} is {ratio:.2f} times its first length"
        if step % settings.log_every == 0 or step == settings.steps or broken:
            kelvin = temperature(atoms, n_degrees)
            samples.append(Sample(step, step * settings.timestep, total, potential, kelvin))
            frames.append(atoms.positions.copy())
        if broken:
            break
        if on_step is not None and step:
            on_step()
    return WatchedRun(
        samples=tuple(samples),
        positions=np.array(frames),
        stretch=stretch,
        broken=broken,
        seconds_per_step=(time.perf_counter() - started) / max(n_steps, 1),
    )


def _lengths(
    atoms: Atoms, pairs: NDArray[np.int64], images: NDArray[np.int64]
) -> NDArray[np.float64]:
    i, j = pairs.T
    vectors = atoms.positions[j] - atoms.positions[i] + images @ atoms.cell.array
    lengths: NDArray[np.float64] = np.linalg.norm(vectors, axis=1)
    return lengths
