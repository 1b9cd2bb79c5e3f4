"""Molecular dynamics from a structure and a calculator to a trajectory, a log and a picture."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray
from tqdm import tqdm

from tlpot.dynamics.integrators import (
    check_mobile,
    degrees_of_freedom,
    draw_velocities,
    make_dynamics,
    rigid_motions,
    temperature,
)
from tlpot.dynamics.record import LOST, MDRecord, Sample, lost_constraints
from tlpot.dynamics.settings import MDSettings
from tlpot.dynamics.setup import md_setup
from tlpot.dynamics.stop import StopCondition, stop_conditions
from tlpot.errors import ConfigError, GeometryError, SimulationError, TLPotWarning
from tlpot.presentation import progress_bar

_LONGEST_STEP = 0.5
"""An atom that moves further in one time step, Å, is taken for an explosion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MDResult:
    """What a run gave.

    Attributes:
        atoms: the last structure, with velocities.
        settings: as asked for.
        samples: all rows of the log, those before a resumption included.
        trajectory: extended XYZ file.
        log: CSV file.
        plot: PNG file.
        seconds_per_step: wall time, without what came before a resumption.
        stopped: why the run ended before its length, in words; empty if it did not.
    """

    atoms: Atoms
    settings: MDSettings
    samples: tuple[Sample, ...]
    trajectory: Path
    log: Path
    plot: Path
    seconds_per_step: float
    stopped: str = ""

    @property
    def drift(self) -> float:
        """Slope of the total energy, meV/atom/ps; NaN with fewer than three samples."""
        return energy_drift(self.samples, len(self.atoms))

    @property
    def temperatures(self) -> NDArray[np.float64]:
        """Kinetic temperature of each sample, K."""
        return np.array([s.temperature for s in self.samples])

    def summary(self) -> str:
        """Returns a few lines for a terminal."""
        last = self.samples[-1]
        lines = [f"stopped at step {last.step}: {self.stopped}"] if self.stopped else []
        lines += [
            f"{last.step} steps, {last.time / 1e3:g} ps, {1e3 * self.seconds_per_step:.2f} ms/step",
            f"temperature {self.temperatures.mean():.0f} ± {self.temperatures.std():.0f} K",
        ]
        if self.settings.ensemble == "nve":
            lines.append(f"total energy drifts by {self.drift:+.4f} meV/atom/ps")
        lines.append(f"wrote {self.trajectory}, {self.log}, {self.plot}")
        return "\n".join(lines)


def run_md(
    atoms: Atoms,
    calculator: Calculator,
    settings: MDSettings,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    stop_when: Sequence[str] = (),
) -> MDResult:
    """Runs molecular dynamics.

    Velocities are drawn unless `atoms` has some. A resumed run goes on from the positions and
    velocities of the last frame; a thermostat starts afresh there. Only its length, the device
    and the number of threads may differ from those of the run that it goes on with.

    Args:
        atoms: the structure; it is copied.
        calculator: any ASE calculator.
        settings: ensemble, temperature, length and so on.
        out: path of the output files without ending, or a folder.
        resume: go on with the run whose files are there.
        overwrite: replace the files that are there.
        progress: show a progress bar.
        stop_when: ends the run where any of these holds, ``domain<0.05`` or ``energy_std>0.2``
            say; see `StopCondition`. The frame where it does is written.

    Raises:
        SimulationError: the dynamics exploded; the files hold what came before.
        OutputError: a file exists already, or could not be written.
        DataError: there is nothing to resume, or nothing says what the run was started with.
        ConfigError: the run to resume is already as long as asked for, or was started with
            another calculator or other settings.
        KeyboardInterrupt: the user stopped it; the message says what the files hold.
    """
    record = MDRecord(out)
    conditions = stop_conditions(stop_when)
    with record.alone():
        return _run(
            atoms.copy(), calculator, settings, record, resume=resume, overwrite=overwrite,
            progress=progress, conditions=conditions,
        )  # fmt: skip


def _run(
    atoms: Atoms,
    calculator: Calculator,
    settings: MDSettings,
    record: MDRecord,
    *,
    resume: bool,
    overwrite: bool,
    progress: bool,
    conditions: Sequence[StopCondition],
) -> MDResult:
    check_mobile(atoms)
    rigid = rigid_motions(atoms, settings)  # of the structure as it was at the start
    setup = md_setup(settings, calculator, atoms)
    if resume:
        record.resume(atoms, setup)
    first = record.samples[-1] if record.samples else None
    begun = 0 if first is None else first.step
    if resume and begun >= settings.steps:
        raise ConfigError(
            f"{record.trajectory} has {begun} steps already and {settings.steps} were asked for; "
            "ask for more to go on"
        )
    rng = np.random.default_rng([settings.seed, begun])
    atoms.calc = calculator
    if not atoms.get_momenta().any():
        draw_velocities(atoms, settings, rigid, rng)
    dynamics = make_dynamics(atoms, settings, rng)  # npt keeps the momenta that it is made with
    n_degrees = degrees_of_freedom(atoms, rigid)
    atoms.get_potential_energy()  # what the calculator refuses is said before a file is touched
    atoms.get_forces()
    for condition in conditions:
        condition.check(calculator)
    if not resume:
        record.start(setup, overwrite=overwrite)
        record.extras = _extras(settings, calculator)
    _warn_of_constraints(atoms, record)

    begun_time = 0.0 if first is None else first.time
    started = time.perf_counter()
    steps = iter(dynamics.irun(settings.steps - begun))
    stopped, done = "", begun
    try:
        with record, _bar(settings, begun, progress) as bar:
            for step in range(begun, settings.steps + 1):
                _advance(steps, step, atoms, record)
                kelvin = temperature(atoms, n_degrees)
                _check_motion(atoms, step, kelvin, settings, record)
                if step > begun:
                    bar.update()
                done = step
                stopped = next(filter(None, (c.met(atoms, kelvin) for c in conditions)), "")
                if (stopped or _logs(step, begun, settings)) and not (
                    step == begun and first is not None
                ):
                    sample = _sample(
                        atoms,
                        step,
                        begun_time + (step - begun) * settings.timestep,
                        kelvin,
                        record.extras,
                    )
                    record.add(sample, atoms)
                    bar.set_postfix_str(f"{kelvin:.0f} K, {sample.total:.4f} eV", refresh=False)
                if stopped:
                    break
    except KeyboardInterrupt:
        raise KeyboardInterrupt(record.kept()) from None
    finally:
        if record.samples:
            _plot(record, atoms, settings)
    return MDResult(
        atoms=atoms,
        settings=settings,
        samples=tuple(record.samples),
        trajectory=record.trajectory,
        log=record.log,
        plot=record.plot,
        seconds_per_step=(time.perf_counter() - started) / max(done - begun, 1),
        stopped=stopped,
    )


def _warn_of_constraints(atoms: Atoms, record: MDRecord) -> None:
    """Says which constraints the structure has lost, or will lose in its trajectory."""
    before = set(str(atoms.info.pop(LOST, "")).split(",")) - {""}
    missing = before - {type(c).__name__ for c in atoms.constraints}
    if missing:
        warnings.warn(
            f"the structure is a frame of a run with the constraints {', '.join(sorted(missing))}, "
            "which its file does not hold: this run goes without them; set them again with "
            "atoms.set_constraint",
            TLPotWarning,
            stacklevel=3,
        )
    lost = lost_constraints(atoms)
    if lost:
        warnings.warn(
            f"{record.trajectory} cannot hold the constraints {', '.join(lost)}: a new run from "
            "one of its frames has to set them again (a resumed one takes those of its structure)",
            TLPotWarning,
            stacklevel=3,
        )


def energy_drift(samples: Sequence[Sample], n_atoms: int) -> float:
    """Returns the slope of a straight line through the total energy, meV/atom/ps.

    Args:
        samples: rows of a log.
        n_atoms: number of atoms.

    Returns:
        NaN with fewer than three samples.
    """
    picoseconds = np.array([s.time for s in samples]) * 1e-3
    return drift_of(picoseconds, np.array([s.total for s in samples]), n_atoms)


def drift_of(picoseconds: NDArray[np.float64], total: NDArray[np.float64], n_atoms: int) -> float:
    """Returns the same from times, [n_samples], ps, and energies, [n_samples], eV."""
    if len(total) < 3:
        return float("nan")
    slope = np.polyfit(picoseconds - picoseconds.mean(), total - total.mean(), 1)[0]
    return float(1e3 * slope / n_atoms)


def _bar(settings: MDSettings, begun: int, progress: bool) -> tqdm:
    return progress_bar(
        total=settings.steps,
        initial=begun,
        disable=not progress,
        unit="step",
        desc=settings.ensemble,
        dynamic_ncols=True,
    )


def _extras(settings: MDSettings, calculator: Calculator) -> tuple[str, ...]:
    """Returns the fields of `Sample` that this run has beyond those of every run."""
    found = ("volume", "density", "pressure") if settings.ensemble == "npt" else ()
    known = getattr(calculator, "implemented_properties", ())
    return (*found, "energy_std") if "energy_std" in known else found


def _sample(atoms: Atoms, step: int, time: float, kelvin: float, extras: Sequence[str]) -> Sample:
    # that of a restraint is no energy of the model, but the total is constant only with it
    potential = float(atoms.get_potential_energy(apply_constraint=False))
    total = float(atoms.get_potential_energy()) + float(atoms.get_kinetic_energy())
    found: dict[str, float] = {}
    if "volume" in extras:
        found["volume"] = float(atoms.get_volume())
    if "density" in extras:
        grams = float(atoms.get_masses().sum()) * units._amu * 1e3
        found["density"] = grams / (float(atoms.get_volume()) * 1e-24)
    if "pressure" in extras:
        stress = atoms.get_stress(include_ideal_gas=True)
        found["pressure"] = -float(stress[:3].mean()) / units.bar
    if "energy_std" in extras:
        found["energy_std"] = float(atoms.calc.get_property("energy_std", atoms))
    return Sample(step, time, total, potential, kelvin, **found)


def _logs(step: int, begun: int, settings: MDSettings) -> bool:
    return step in (begun, settings.steps) or step % settings.log_every == 0


def _advance(steps: Iterator[bool], step: int, atoms: Atoms, record: MDRecord) -> None:
    try:
        next(steps)
    except GeometryError as error:
        raise SimulationError(f"{error}; {_remedy(step, record)}") from error


def _check_motion(
    atoms: Atoms, step: int, kelvin: float, settings: MDSettings, record: MDRecord
) -> None:
    momenta = atoms.get_momenta()
    speeds = np.sqrt(np.einsum("ij,ij->i", momenta, momenta)) / atoms.get_masses()
    moved = speeds * settings.timestep * units.fs
    limit = 10.0 * settings.temperature + 10_000.0
    if moved.max() <= _LONGEST_STEP and kelvin <= limit:  # false for NaN
        return
    worst = int(np.argmax(np.where(np.isfinite(moved), moved, np.inf)))
    raise SimulationError(
        f"the dynamics exploded: atom {worst} ({atoms.symbols[worst]}) moves {moved[worst]:.2g} Å "
        f"in one step and the temperature is {kelvin:.4g} K; {_remedy(step, record)}"
    )


def _remedy(step: int, record: MDRecord) -> str:
    kept = f"up to step {record.samples[-1].step}" if record.samples else "nothing"
    return (
        f"stopped at step {step}. Start from a relaxed structure, shorten the timestep, or use a "
        f"model that knows such geometries. {record.trajectory} holds {kept}"
    )


def _plot(record: MDRecord, atoms: Atoms, settings: MDSettings) -> None:
    from tlpot.dynamics.picture import plot_md  # matplotlib takes its time to load

    title = f"{atoms.get_chemical_formula()}, {settings.ensemble}, {settings.timestep:g} fs"
    drift = energy_drift(record.samples, len(atoms))
    if settings.ensemble == "nve" and np.isfinite(drift):
        title += f", drift {drift:+.4f} meV/atom/ps"
    plot_md(record.samples, record.plot, title)
