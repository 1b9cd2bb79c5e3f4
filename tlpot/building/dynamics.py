"""Relaxations and dynamics of a build that go on where they were killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import LBFGS

from tlpot.building.stage import read_json
from tlpot.calculators import FragmentCalculator
from tlpot.dynamics import MDRunner, MDSettings, draw_velocities, drift_of, rigid_motions
from tlpot.engines import LabelError
from tlpot.errors import GeometryError
from tlpot.files import make_folder
from tlpot.numbers import Floats
from tlpot.presentation import progress_bar
from tlpot.stored_results import read_arrays, write_arrays, write_json

_FORCE, _STEPS, _LONGEST = 0.05, 200, 0.1
"""eV/Å to end at, and Å for a step."""


def descend(atoms: Atoms, path: Path, stop: Callable[[], bool]) -> None:
    """Moves atoms downhill; where the file is there, it goes on from it.

    On a CPU the result does not depend on interruptions, to the last bit.

    Raises:
        KeyboardInterrupt: the user stopped it; all steps are kept.
        DataError: the file is damaged.
        GeometryError: the calculator refuses what it came to.
    """
    make_folder(path.parent)
    optimizer = _Relaxation(atoms, path)
    for _ in optimizer.irun(fmax=_FORCE, steps=_STEPS - optimizer.done):
        if stop():
            raise KeyboardInterrupt


_MEMORY = ("count", "moves", "changes", "weights", "before", "forces")
"""What the optimizer goes on from, in ASE's order."""


class _Relaxation(LBFGS):
    """LBFGS whose memory and positions are one file, written after each step."""

    done = 0

    def __init__(self, atoms: Atoms, path: Path) -> None:
        self.path = path  # ASE reads it while it sets itself up
        super().__init__(atoms, restart=str(path), logfile=None, maxstep=_LONGEST)  # type: ignore[arg-type]

    def dump(self, data: Any) -> None:
        """Writes what ASE would write, and the positions; it is called after each step."""
        self.done += 1
        memory = dict(zip(_MEMORY, data, strict=False))
        write_arrays(self.path, {"done": self.done, "positions": self.atoms.positions, **memory})
        if isinstance(self.atoms.calc, FragmentCalculator):
            self.atoms.calc.forget()  # whoever goes on from the file has no lists either

    def load(self) -> tuple[Any, ...]:
        """Reads it, and moves the atoms there."""
        found = read_arrays(self.path, ("done", "positions", *_MEMORY), "remove it")
        assert found is not None  # ASE looks whether there is one
        self.done = int(found["done"])
        self.atoms.set_positions(found["positions"])
        memory = [list(found[name]) for name in _MEMORY[1:4]]
        # without a line search there is no energy to remember
        return int(found["count"]), *memory, found["before"], found["forces"], None, "START"


_END = "ended.json"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A frame of a trajectory.

    Attributes:
        positions: [n_atoms, 3], Å.
        momenta: [n_atoms, 3], in ASE's unit.
        potential: eV.
        kinetic: eV.
    """

    positions: Floats
    momenta: Floats
    potential: float
    kinetic: float

    @classmethod
    def of(cls, atoms: Atoms) -> Moment:
        """Takes what atoms with a calculator are doing now."""
        return cls(
            positions=atoms.positions.copy(),
            momenta=atoms.get_momenta(),
            potential=float(atoms.get_potential_energy()),
            kinetic=float(atoms.get_kinetic_energy()),
        )

    @classmethod
    def read(cls, path: Path) -> Moment | None:
        """Reads what `write` wrote; None if there is none.

        Raises:
            DataError: the file is damaged.
        """
        found = read_arrays(path, ("positions", "momenta", "energies"), "remove it")
        if found is None:
            return None
        potential, kinetic = found["energies"].tolist()
        return cls(
            positions=found["positions"],
            momenta=found["momenta"],
            potential=potential,
            kinetic=kinetic,
        )

    def write(self, path: Path) -> None:
        """Writes it to a file."""
        energies = [self.potential, self.kinetic]
        write_arrays(
            path, {"positions": self.positions, "momenta": self.momenta, "energies": energies}
        )

    @property
    def total(self) -> float:
        """Potential and kinetic energy, eV."""
        return self.potential + self.kinetic


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Frames, and why there are not more.

    Attributes:
        moments: the relaxed or given start, and one for each interval.
        ended: why it ended early; empty if it did not.
        timestep: fs.
        interval: steps between two frames.
    """

    moments: tuple[Moment, ...]
    ended: str
    timestep: float
    interval: int

    @property
    def picoseconds(self) -> float:
        """Its length."""
        return (len(self.moments) - 1) * self.interval * self.timestep * 1e-3

    def drift(self, n_atoms: int) -> float:
        """Slope of the total energy, meV/atom/ps; NaN with fewer than three frames."""
        times = np.linspace(0.0, self.picoseconds, len(self.moments))
        return drift_of(times, np.array([moment.total for moment in self.moments]), n_atoms)


def relaxed(
    folder: Path,
    atoms: Atoms,
    calculator: Callable[[], Calculator],
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Atoms:
    """Returns a structure after a few steps downhill; what is in the folder is not repeated.

    Where the force field tears it apart, it is returned as it was, for dynamics to show how far
    it gets.

    `calculator` makes the calculator, if there is something to do.

    Raises:
        KeyboardInterrupt: the user stopped it; all steps are kept.
        DataError: a file in the folder is damaged.
    """
    path, begun, found = folder / "relaxed.npz", folder / "relaxing.npz", atoms.copy()
    stored = Moment.read(path)
    if stored is None:
        found.calc = calculator()
        try:
            descend(found, begun, stop)
        except GeometryError:
            found.set_positions(atoms.positions)
        stored = Moment.of(found)
        found.calc = None
        stored.write(path)
    begun.unlink(missing_ok=True)
    found.set_positions(stored.positions)
    return found


def run_dynamics(
    folder: Path,
    start: Atoms,
    calculator: Callable[[], Calculator],
    settings: MDSettings,
    *,
    momenta: Floats | None = None,
    stop: Callable[[], bool] = lambda: False,
    show: bool = True,
    name: str = "dynamics",
) -> Trajectory:
    """Runs dynamics interval by interval, each with random numbers of its own.

    Each finished interval is a file, and the next one starts from nothing else: on a CPU the
    trajectory does not depend on interruptions, to the last bit. It ends early where the force
    field refuses the geometry (a bond is broken) or is not a number, or where an engine fails on
    it.

    What is in the folder is not repeated; `settings.log_every` is the interval; without `momenta`
    they are drawn.

    Raises:
        KeyboardInterrupt: the user stopped it.
        DataError: a file in the folder is damaged.
    """
    make_folder(folder)
    n = -(-settings.steps // settings.log_every)
    moments: list[Moment] = []
    ended = str(read_json(folder / _END)["why"]) if (folder / _END).exists() else ""
    for k in range(n + 1):
        found = Moment.read(folder / f"{k:06d}.npz")
        if found is None:
            break
        moments.append(found)
    atoms = start.copy()
    if not ended and len(moments) < n + 1:
        atoms.calc = calculator()
        with progress_bar(total=n + 1, initial=len(moments), disable=not show, unit="frame",
                  desc=name, dynamic_ncols=True) as bar:  # fmt: skip
            while len(moments) < n + 1 and not ended:
                if stop():
                    raise KeyboardInterrupt
                k = len(moments)
                try:
                    moments.append(_advanced(atoms, moments, settings, k, momenta))
                    moments[-1].write(folder / f"{k:06d}.npz")
                except (GeometryError, LabelError) as error:
                    ended = str(error)
                    write_json(folder / _END, {"why": ended, "frame": k})
                bar.update()
    return Trajectory(
        moments=tuple(moments),
        ended=ended,
        timestep=settings.timestep,
        interval=settings.log_every,
    )


def _advanced(
    atoms: Atoms, moments: list[Moment], settings: MDSettings, k: int, momenta: Floats | None
) -> Moment:
    rng = np.random.default_rng([settings.seed, k])
    if k == 0:
        if momenta is None:
            draw_velocities(atoms, settings, rigid_motions(atoms, settings), rng)
        else:
            atoms.set_momenta(momenta)
    else:
        # as they are on disk, so that nothing else is carried over: not even the order of sums
        if isinstance(atoms.calc, FragmentCalculator):
            atoms.calc.forget()
        atoms.set_positions(moments[-1].positions)
        atoms.set_momenta(moments[-1].momenta)
        MDRunner(atoms, settings, rng).advance(settings.log_every)
    moment = Moment.of(atoms)
    if not np.isfinite(moment.total) or not np.isfinite(moment.positions).all():
        raise GeometryError("energy or positions are no longer numbers")
    return moment
