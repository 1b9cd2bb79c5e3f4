"""Relaxation of atoms, and of the cell, to a stationary point by ASE's optimizers."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units

from tlpot.config import check_least
from tlpot.dynamics.runner import check_mobile, check_results
from tlpot.errors import ConfigError, GeometryError, SimulationError, nearest
from tlpot.numbers import Floats
from tlpot.system import System, check_system

OPTIMIZERS = {"bfgs-line-search": "BFGSLineSearch", "lbfgs": "LBFGS", "fire": "FIRE"}
"""Names of optimizers, and of the classes of `ase.optimize`."""

LARGE = 100
"""Atoms beyond which ``auto`` is ``lbfgs``: one evaluation a step where a line search has two, and
no dense Hessian. Below, line searches take fewer evaluations and stay in their basin."""

_LONGEST_STEP = 0.1
"""Å that an atom may move in a step: in a longer one LBFGS leaves the basin of shipped models."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RelaxationSettings:
    """Settings of a relaxation; impossible values raise a `ConfigError`.

    Attributes:
        fmax: it is converged where no force is larger, eV/Å; in a relaxation of the cell also
            the forces on it, see `ase.filters.FrechetCellFilter`.
        steps: the most steps.
        optimizer: ``bfgs-line-search``, ``lbfgs``, ``fire``, or ``auto``: the first up to 100
            atoms, the second beyond.
        cell: relax the cell, too.
        pressure: that the cell is relaxed under, bar.
    """

    fmax: float = 0.01
    steps: int = 1000
    optimizer: str = "auto"
    cell: bool = False
    pressure: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fmax) and self.fmax > 0):
            raise ConfigError(f"fmax is {self.fmax}, expected a force in eV/Å above 0")
        check_least(self, steps=1)
        if self.optimizer != "auto" and self.optimizer not in OPTIMIZERS:
            valid = ("auto", *OPTIMIZERS)
            raise ConfigError(
                f"unknown optimizer {self.optimizer!r}{nearest(self.optimizer, valid)}"
            )
        if not math.isfinite(self.pressure):
            raise ConfigError(f"pressure is {self.pressure}, expected a number in bar")
        if self.pressure and not self.cell:
            raise ConfigError(
                "pressure acts on the cell, which is not relaxed; ask for cell, or leave it out"
            )

    def chosen(self, n_atoms: int) -> str:
        """Returns the optimizer for a number of atoms: ``auto`` is resolved."""
        if self.optimizer != "auto":
            return self.optimizer
        return "bfgs-line-search" if n_atoms <= LARGE else "lbfgs"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RelaxationStep:
    """Where a relaxation is after a step; step 0 is the start.

    Attributes:
        step: number of the step.
        energy: eV, with that of restraints such as springs.
        max_force: largest force on an atom, constraints applied, eV/Å.
        max_stress: largest deviation of a stress component from the pressure, eV/Å³; NaN unless
            the cell is relaxed.
        converged: whether this is the end.
        positions: [n_atoms, 3], Å.
        cell: [3, 3], Å.
    """

    step: int
    energy: float
    max_force: float
    max_stress: float
    converged: bool
    positions: Floats
    cell: Floats

    def put(self, atoms: Atoms) -> None:
        """Moves atoms to where the step ended, whatever was tried afterwards."""
        atoms.set_cell(self.cell, apply_constraint=False)
        atoms.set_positions(self.positions, apply_constraint=False)


def relaxation_steps(atoms: Atoms, settings: RelaxationSettings) -> Iterator[RelaxationStep]:
    """Relaxes atoms step by step: the start, and what is there after each step.

    A line search that finds no lower energy, because rounding hides it or because the forces are
    not the energy's derivatives, is followed by steps of BFGS without one.

    The atoms have a calculator, and move; constraints are kept.

    Yields:
        The last one is converged, or as many steps as allowed are done.

    Raises:
        GeometryError: nothing can move, NaN, no atoms, or what the calculator refuses at the
            start; a cell is to be relaxed and there is none.
        ConfigError: the calculator has no forces, or no stress where the cell is to be relaxed.
        SimulationError: the calculator refuses a geometry on the way.
    """
    check_system(System.from_atoms(atoms))
    check_mobile(atoms, "remove some, so that there is something to relax")
    target = _target(atoms, settings)
    known = getattr(atoms.calc, "implemented_properties", ("forces",))
    if "forces" not in known:
        raise ConfigError(
            f"{type(atoms.calc).__name__} gives energies without forces, so nothing can be "
            "relaxed; use a model with forces"
        )
    latest = _state(0, atoms, target, settings)
    yield latest
    name = OPTIMIZERS[settings.chosen(len(atoms))]
    while not latest.converged and latest.step < settings.steps:
        begun = latest.step
        try:
            for step in _run(name, atoms, target, settings, latest):
                latest = step
                yield step
        except _LineSearchError:
            latest.put(atoms)
            if latest.step == begun:  # else the same again, with a fresh Hessian
                name = "BFGS"
        else:
            return


class _LineSearchError(Exception):
    """A line search that found nothing lower."""


def _run(
    name: str, atoms: Atoms, target: Any, settings: RelaxationSettings, latest: RelaxationStep
) -> Iterator[RelaxationStep]:
    """Runs one optimizer on from a step, see `relaxation_steps`."""
    import ase.optimize

    begun = latest.step
    optimizer = getattr(ase.optimize, name)(target, logfile=None, maxstep=_LONGEST_STEP)
    steps = iter(optimizer.irun(fmax=settings.fmax, steps=settings.steps - begun))
    _advance(steps, latest)  # it looks at the start first
    while not latest.converged and latest.step < settings.steps:
        if not _advance(steps, latest):
            return
        latest = _state(latest.step + 1, atoms, target, settings)
        yield latest


def _advance(steps: Iterator[Any], latest: RelaxationStep) -> bool:
    """Makes a step; false where the optimizer has ended."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # ASE prints there what it skips
            next(steps)
    except StopIteration:
        return False
    except GeometryError as error:
        raise SimulationError(
            f"{error}; that was in step {latest.step + 1} of the relaxation. The forces lead to "
            "geometries that the model cannot describe: start from a better structure, or use a "
            "model that knows such geometries"
        ) from error
    except RuntimeError as error:
        if "LineSearch" in str(error).replace(" ", ""):
            raise _LineSearchError from None
        raise
    return True


def _state(step: int, atoms: Atoms, target: Any, settings: RelaxationSettings) -> RelaxationStep:
    energy = check_results(atoms, f" at step {step} of the relaxation")
    forces = np.linalg.norm(atoms.get_forces(), axis=1)
    largest = float(np.linalg.norm(target.get_forces(), axis=1).max())
    if not math.isfinite(largest):
        raise SimulationError(
            f"stress is not finite at step {step} of the relaxation; look at the structure "
            "(overlapping atoms?) and at what the calculator says of it"
        )
    stress = math.nan
    if settings.cell:
        wanted = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) * -settings.pressure * units.bar
        stress = float(np.abs(atoms.get_stress() - wanted).max())
    return RelaxationStep(
        step=step,
        energy=energy,
        max_force=float(forces.max()),
        max_stress=stress,
        converged=largest <= settings.fmax,
        positions=atoms.positions.copy(),
        cell=atoms.cell.array.copy(),
    )


def _target(atoms: Atoms, settings: RelaxationSettings) -> Any:
    """Returns what the optimizer moves: the atoms, or they and their cell."""
    if not settings.cell:
        return atoms
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise GeometryError(
            "a relaxation of the cell needs one that is periodic in all three directions; pbc is "
            f"{atoms.pbc.tolist()}, cell {atoms.cell.array.tolist()}. Leave cell out, or set both"
        )
    if "stress" not in getattr(atoms.calc, "implemented_properties", ("stress",)):
        raise ConfigError(
            "a relaxation of the cell needs stress, which the calculator does not give; use "
            "another model, or leave cell out"
        )
    if atoms.constraints:
        raise ConfigError("a relaxation of the cell cannot hold constraints; remove them")
    from ase.filters import FrechetCellFilter

    return FrechetCellFilter(atoms, scalar_pressure=settings.pressure * units.bar)
