"""Short dynamics with a calculator: what moves, how the energy stays, and what breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from tlpot.dynamics.bond_monitor import BROKEN, WatchedBonds, run_watched
from tlpot.dynamics.record import Sample
from tlpot.dynamics.run import energy_drift
from tlpot.dynamics.settings import MDSettings
from tlpot.system import System
from tlpot.topology import Continuity, Lattice, Topology

PROTOCOL = (
    "Short runs from the given structures. NVE: velocity Verlet, velocities scaled to the "
    "temperature at the start. Langevin: constant temperature. A bond that is beyond "
    f"{BROKEN} times its first length after any step counts as broken and ends the run."
)
"""How `simulate` makes its runs."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What a run gave.

    Attributes:
        structure: name of the structure.
        calculator: name of what computed the forces.
        settings: what was asked for.
        n_atoms: of the structure.
        samples: every ``log_every`` steps, the start and the last step included.
        positions: of the samples, [n_samples, n_atoms, 3], Å, molecules whole.
        stretch: longest bond relative to its first length.
        broken: what broke, in words; empty if nothing did.
        seconds_per_step: by the clock.
        protocol: how the run was made and watched, in words.
    """

    structure: str
    calculator: str
    settings: MDSettings
    n_atoms: int
    samples: tuple[Sample, ...]
    positions: NDArray[np.float64]
    stretch: float
    broken: str
    seconds_per_step: float
    protocol: str = PROTOCOL

    @property
    def picoseconds(self) -> float:
        """Simulated time."""
        return 1e-3 * self.samples[-1].time

    @property
    def drift(self) -> float:
        """Slope of the total energy, meV/atom/ps; NaN with fewer than three samples."""
        return energy_drift(self.samples, self.n_atoms)

    @property
    def deviations(self) -> NDArray[np.float64]:
        """Total energy relative to the start, [n_samples], meV/atom."""
        total = np.array([s.total for s in self.samples])
        found: NDArray[np.float64] = 1e3 * (total - total[0]) / self.n_atoms
        return found

    @property
    def kelvin(self) -> tuple[float, float]:
        """Mean and standard deviation of the temperature in the second half, K."""
        values = np.array([s.temperature for s in self.samples])[len(self.samples) // 2 :]
        return float(values.mean()), float(values.std())

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers with the samples; what is not defined is null."""
        drift = self.drift if self.settings.ensemble == "nve" else float("nan")
        return {
            "structure": self.structure,
            "calculator": self.calculator,
            "ensemble": self.settings.ensemble,
            "temperature_asked_K": self.settings.temperature,
            "friction_per_ps": self.settings.friction,
            "timestep_fs": self.settings.timestep,
            "seed": self.settings.seed,
            "steps_asked": self.settings.steps,
            "steps": self.samples[-1].step,
            "n_atoms": self.n_atoms,
            "drift_meV_per_atom_per_ps": drift if np.isfinite(drift) else None,
            "temperature_mean_K": self.kelvin[0],
            "temperature_std_K": self.kelvin[1],
            "longest_bond_ratio": self.stretch,
            "broken": self.broken or None,
            "seconds_per_step": self.seconds_per_step,
            "time_fs": [s.time for s in self.samples],
            "total_energy_eV": [s.total for s in self.samples],
            "temperature_K": [s.temperature for s in self.samples],
        }


def simulate(
    atoms: Atoms,
    calculator: Calculator,
    settings: MDSettings,
    topology: Topology,
    *,
    structure: str,
    name: str,
    on_step: Callable[[], object] | None = None,
) -> Motion:
    """Runs dynamics until a bond breaks or the steps are done.

    Args:
        atoms: the start, wrapped into its cell or not; it is copied, and velocities are drawn.
        calculator: of the forces.
        settings: of the run.
        topology: of the structure; its bonds are watched.
        structure: name of the structure.
        name: of the calculator.
        on_step: called after each step.

    Raises:
        TLPotError: the calculator refuses the structure as it is at the start.
    """
    moving = atoms.copy()
    # dynamics never wrap atoms, so molecules that start whole have true bonds and angles to the end
    moving.positions = _whole(atoms, topology)
    bonds = WatchedBonds.of_molecule(moving, topology.bonds)
    run = run_watched(moving, calculator, settings, bonds, on_step=on_step)
    return Motion(
        structure=structure,
        calculator=name,
        settings=settings,
        n_atoms=len(moving),
        samples=run.samples,
        positions=run.positions,
        stretch=run.stretch,
        broken=run.broken,
        seconds_per_step=run.seconds_per_step,
    )


def _whole(atoms: Atoms, topology: Topology) -> NDArray[np.float64]:
    """Positions with molecules in one piece, [n_atoms, 3], Å."""
    positions: NDArray[np.float64] = atoms.get_positions()
    lattice = Lattice.of(System.from_atoms(atoms))
    if lattice is not None:
        found = Continuity(len(atoms), topology.bonds).shifts(positions, lattice)
        positions = positions + found @ lattice.vectors
    return positions
