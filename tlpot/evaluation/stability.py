"""Short dynamics at constant energy: does a molecule hold together, and the energy stay?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator

from tlpot.data import Frame
from tlpot.dynamics import BondMonitor, MDSettings, MonitoredRun, run_monitored
from tlpot.energy import EnergyModel
from tlpot.evaluation.predictions import evaluate_systems
from tlpot.numbers import short

KELVIN = 300.0
TIMESTEP = 0.5
LARGEST = 60
"""Atoms of the largest molecule that is simulated."""


@dataclass(frozen=True, kw_only=True)
class Stability(MonitoredRun):
    """What a short run gave, with a sample for each step that was made, the start included.

    Attributes:
        frame: where the structure came from.
        formula: of the structure.
        steps: steps asked for.
    """

    frame: str
    formula: str
    steps: int

    @property
    def kelvin(self) -> float:
        """Mean kinetic temperature, K."""
        return float(np.mean([s.temperature for s in self.samples]))

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers; what is not defined is left out."""
        found: dict[str, Any] = {
            "frame": self.frame,
            "formula": self.formula,
            "n_atoms": self.n_atoms,
            "steps": self.samples[-1].step,
            "steps_asked": self.steps,
            "timestep": TIMESTEP,
            "temperature": self.kelvin,
            "largest_deviation": float(np.abs(self.deviations).max()),
            "longest_stretch": self.stretch,
            "broken": self.broken or None,
        }
        if np.isfinite(self.drift):
            found["drift"] = self.drift
        return found

    def summary(self) -> str:
        """Returns one line."""
        what = f"dynamics, {self.formula}, {self.picoseconds:.3g} ps NVE"
        if self.broken:
            return f"{what}: BROKEN, {self.broken}"
        drift = f"{short(self.drift, sign=True)} meV/atom/ps"
        return f"{what}: intact, energy drift {drift}, mean {self.kelvin:.0f} K"

    def text(self) -> str:
        """Returns a few lines."""
        return (
            f"{self.summary()}\n  from {self.frame}, of this composition the frame that the model "
            f"puts lowest; velocities\n  drawn at {KELVIN:.0f} K; total energy within "
            f"{short(np.abs(self.deviations).max())} meV/atom of the start; longest bond "
            f"{self.stretch:.2f} times its\n  first length"
        )


def choose_frame(
    frames: Sequence[Frame],
    model: EnergyModel,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Frame | None:
    """Returns a frame of the largest molecule of up to 60 atoms; None if there is none.

    Of the frames of that molecule it is the one with the lowest energy, so that the velocities
    and not the strain of the geometry decide how hot it gets.

    The model is on `device`; `seed` decides between molecules of the same size.
    """
    sizes = np.array([len(f.system) for f in frames])
    fitting = np.where((sizes <= LARGEST) & (sizes > 1), sizes, 0)
    if not fitting.any():
        return None
    largest = [f for f, size in zip(frames, fitting, strict=True) if size == fitting.max()]
    numbers = np.stack([np.sort(f.system.atomic_numbers) for f in largest])
    chosen = numbers[np.random.default_rng(seed).integers(len(numbers))]
    largest = [f for f, row in zip(largest, numbers, strict=True) if (row == chosen).all()]
    found = evaluate_systems(model, [f.system for f in largest], device=device, forces=False)
    return largest[int(found.energy.argmin())]


def probe_stability(
    frame: Frame, calculator: Calculator, *, steps: int, seed: int = 0
) -> Stability:
    """Runs velocity Verlet from a frame until a bond breaks or the steps, 0.5 fs each, are done.

    Raises:
        TLPotError: the calculator refuses the structure.
    """
    system = frame.system
    info = {"charge": system.charge, "spin": system.spin}
    atoms = Atoms(
        numbers=system.atomic_numbers,
        positions=system.positions,
        cell=system.cell,
        pbc=system.pbc,
        info=info if (system.charge, system.spin) != (0, 1) else None,
    )
    settings = MDSettings(
        ensemble="nve", temperature=KELVIN, timestep=TIMESTEP, steps=steps, seed=seed, log_every=1
    )
    run = run_monitored(atoms, calculator, settings, BondMonitor.near(atoms))
    formula = atoms.get_chemical_formula()
    return Stability(frame=frame.name, formula=formula, steps=steps, **vars(run))
