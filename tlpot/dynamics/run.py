"""Molecular dynamics from a structure and a calculator to a trajectory, a log and a picture."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms, FixBondLengths, FixInternals
from tqdm import tqdm

from tlpot.dynamics import runner
from tlpot.dynamics.record import LOST, MDRecord, lost_constraints, md_setup
from tlpot.dynamics.settings import MDSettings, StopCondition, stop_conditions
from tlpot.errors import ConfigError, GeometryError, SimulationError, TLPotWarning
from tlpot.files import PathLike
from tlpot.numbers import Floats
from tlpot.presentation import COLOURS, add_legend, drawn, make_figure, progress_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST_STEP = 0.5
"""An atom that moves further in one time step, Å, is taken for an explosion."""
_STEPS_OF_PERIOD = 20
"""Time steps that the period of a thermostat or barostat should have."""
_STEPS_OF_FRICTION = 2
"""Time steps that the inverse of a friction should have."""
_STEP_OF_UNIT_MASS = 1.05
"""fs; longer steps are a ninth of a stretching vibration of an atom of 1 u. Periods grow with the
root of the mass."""


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
    samples: tuple[runner.Sample, ...]
    trajectory: Path
    log: Path
    plot: Path
    seconds_per_step: float
    stopped: str = ""

    @property
    def drift(self) -> float:
        """Slope of the total energy, meV/atom/ps; NaN with fewer than three samples."""
        return runner.energy_drift(self.samples, len(self.atoms))

    @property
    def temperatures(self) -> Floats:
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
        if self.settings.ensemble == "nve" and math.isfinite(self.drift):
            lines.append(f"total energy drifts by {self.drift:+.4f} meV/atom/ps")
        lines.append(f"wrote {self.trajectory}, {self.log}, {self.plot}")
        return "\n".join(lines)


def run_md(
    atoms: Atoms,
    calculator: Calculator,
    settings: MDSettings,
    out: PathLike,
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
    runner.check_mobile(atoms, "remove some, or take single points instead of dynamics")
    rigid = runner.rigid_motions(atoms, settings)  # of the structure as it was at the start
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
        runner.draw_velocities(atoms, settings, rigid, rng)
    begun_time = 0.0 if first is None else first.time
    run = runner.MDRunner(atoms, settings, rng, rigid=rigid, step=begun, time=begun_time)
    runner.check_results(atoms)  # what is refused is said before a file is touched
    for condition in conditions:
        condition.check(calculator)
    if not resume:
        record.start(setup, overwrite=overwrite)
        record.extras = _extras(settings, calculator)
    _warn_of_constraints(atoms, record)
    _warn_of_long_steps(atoms, settings)
    _warn_of_short_times(settings)

    try:
        with record, _bar(settings, begun, progress) as bar:
            hooks: tuple[runner.Hook, ...] = (
                partial(_check_motion, record=record),
                *conditions,
                partial(_write, record=record, bar=bar),
            )
            run.advance(settings.steps - begun, hooks)
    except GeometryError as error:
        raise SimulationError(f"{error}; {_remedy(run.step, record)}") from error
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
        seconds_per_step=run.seconds_per_step,
        stopped=run.ended,
    )


def _warn_of_long_steps(atoms: Atoms, settings: MDSettings) -> None:
    """Says where steps are too long for the lightest atom, unless lengths of bonds are fixed."""
    if any(isinstance(c, FixBondLengths | FixInternals) for c in atoms.constraints):
        return
    fixed = {i for c in atoms.constraints if isinstance(c, FixAtoms) for i in c.index.tolist()}
    masses = atoms.get_masses()
    lightest = min((i for i in range(len(atoms)) if i not in fixed), key=lambda i: masses[i])
    longest = _STEP_OF_UNIT_MASS * math.sqrt(masses[lightest])
    if settings.timestep <= longest:
        return
    symbol, mass = atoms.symbols[lightest], masses[lightest]
    warnings.warn(
        f"steps of {settings.timestep:g} fs are long for {symbol} of {mass:.3g} u, whose fastest "
        f"vibrations take some {9 * math.sqrt(mass):.2g} fs: temperatures and frequencies will be "
        f"off, and energy drifts. Take {longest:.1f} fs at most, better half of that, or heavier "
        "atoms (atoms.set_masses)",
        TLPotWarning,
        stacklevel=4,
    )


def _warn_of_short_times(settings: MDSettings) -> None:
    """Says where thermostat or barostat are too fast for the time step."""
    step = settings.timestep
    if settings.ensemble == "npt":
        wanted, found = _STEPS_OF_PERIOD * step, {
            "thermostat_time": settings.thermostat_time, "barostat_time": settings.barostat_time,
        }  # fmt: skip
        short = [f"{name} is {value:g} fs" for name, value in found.items() if value < wanted]
        what = f"{' and '.join(short)}, expected {wanted:g} or more, {_STEPS_OF_PERIOD} steps"
    else:
        most = 1e3 / (_STEPS_OF_FRICTION * step)
        short = ["friction"] * (settings.ensemble == "langevin" and settings.friction > most)
        what = f"friction is {settings.friction:g}/ps, expected {most:g} or less"
    if short:
        warnings.warn(
            f"{what}: too fast to be integrated with steps of {step:g} fs; the run may explode",
            TLPotWarning,
            stacklevel=4,
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


def _write(run: runner.MDRunner, record: MDRecord, bar: tqdm) -> None:
    """Hook: moves the bar, and writes the frames that the file does not hold yet."""
    if run.step > run.first:
        bar.update()
    elif record.samples:
        return
    if run.logs:
        sample = run.sample(record.extras)
        record.add(sample, run.atoms)
        bar.set_postfix_str(f"{run.temperature:.0f} K, {sample.total:.4f} eV", refresh=False)


def _check_motion(run: runner.MDRunner, record: MDRecord) -> None:
    """Hook: raises where atoms move too far in a step, or the temperature is out of bounds."""
    atoms, settings, kelvin = run.atoms, run.settings, run.temperature
    momenta = atoms.get_momenta()
    speeds = np.sqrt(np.einsum("ij,ij->i", momenta, momenta)) / atoms.get_masses()
    moved = speeds * settings.timestep * units.fs
    limit = 10.0 * settings.temperature + 10_000.0
    if moved.max() <= _LONGEST_STEP and kelvin <= limit:  # false for NaN
        return
    worst = int(np.argmax(np.where(np.isfinite(moved), moved, np.inf)))
    raise SimulationError(
        f"the dynamics exploded: atom {worst} ({atoms.symbols[worst]}) moves {moved[worst]:.2g} Å "
        f"in one step and the temperature is {kelvin:.4g} K; {_remedy(run.step, record)}"
    )


def _remedy(step: int, record: MDRecord) -> str:
    kept = f"up to step {record.samples[-1].step}" if record.samples else "nothing"
    return (
        f"stopped at step {step}. Start from a relaxed structure, shorten the timestep, or use a "
        f"model that knows such geometries. {record.trajectory} holds {kept}"
    )


def _plot(record: MDRecord, atoms: Atoms, settings: MDSettings) -> None:
    title = f"{atoms.get_chemical_formula()}, {settings.ensemble}, {settings.timestep:g} fs"
    drift = runner.energy_drift(record.samples, len(atoms))
    if settings.ensemble == "nve" and np.isfinite(drift):
        title += f", drift {drift:+.4f} meV/atom/ps"
    plot_md(record.samples, record.plot, title)


def plot_md(samples: Sequence[runner.Sample], path: PathLike | None, title: str) -> Figure:
    """Draws total and potential energy, and the temperature, against time.

    Energies are relative to the first potential energy, so that the gap between the two
    curves is the kinetic energy.

    Raises:
        OutputError: the file could not be written.
    """
    time = np.array([s.time for s in samples]) * 1e-3
    zero, temperatures = samples[0].potential, np.array([s.temperature for s in samples])
    figure, panels = make_figure(7.0, 5.0, 2, 1, sharex=True, height_ratios=[3, 2])
    upper, lower = panels[:, 0]
    upper.plot(time, [s.total - zero for s in samples], label="total", color="black", lw=1.5)
    upper.plot(time, [s.potential - zero for s in samples], label="potential", lw=1.0)
    upper.set_ylabel("energy − first potential (eV)")
    upper.set_title(title, fontsize=10)
    lower.plot(time, temperatures, color=COLOURS[1], lw=1.0)
    mean = temperatures.mean()
    lower.axhline(mean, color=COLOURS[1], lw=1.0, ls="--", label=f"mean {mean:.0f} K")
    lower.set_ylabel("temperature (K)")
    lower.set_xlabel("time (ps)")
    for axes in (upper, lower):
        add_legend(axes, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return drawn(figure, path)
