"""Relaxation of atoms, and of the cell, by ASE's optimizers, and what it gave."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units

from tlpot.config import check_least
from tlpot.dynamics.bond_monitor import bond_changes, rmsd
from tlpot.dynamics.runner import check_mobile, check_results
from tlpot.errors import ConfigError, GeometryError, SimulationError, nearest
from tlpot.files import PathLike
from tlpot.numbers import Floats
from tlpot.presentation import COLOURS, Result, add_legend, drawn, make_figure
from tlpot.system import System, check_system

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Relaxation(Result):
    """A relaxed structure, and how it came to be.

    Attributes:
        atoms: the last structure, with energy and forces.
        start: the first one.
        settings: as asked for.
        optimizer: that was used.
        method: the model and its level, in words.
        converged: whether no force is larger than ``settings.fmax``.
        energies: of the start and after each step, [n_steps + 1], eV.
        max_forces: largest force on an atom, [n_steps + 1], eV/Å.
        max_stress: largest deviation of a stress component from the pressure at the end, eV/Å³;
            NaN unless the cell was relaxed.
        rmsd: root mean square displacement after superposition, Å.
        broken: bonds that were lost, such as ``C0-H4 (1.09 to 2.31 Å)``.
        formed: bonds that are new.
        domain: 1 where the model was trained, 0 far away; None if it does not know.
        notes: of the reader of the structure.
        files: that were written.
    """

    atoms: Atoms
    start: Atoms
    settings: RelaxationSettings
    optimizer: str
    method: str
    converged: bool
    energies: Floats
    max_forces: Floats
    max_stress: float = math.nan
    rmsd: float
    broken: tuple[str, ...]
    formed: tuple[str, ...]
    domain: float | None = None
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @classmethod
    def of_steps(
        cls,
        start: Atoms,
        atoms: Atoms,
        settings: RelaxationSettings,
        steps: Sequence[RelaxationStep],
        *,
        method: str,
        domain: float | None = None,
        notes: Sequence[str] = (),
        files: Sequence[Path] = (),
    ) -> Relaxation:
        """Makes the result of all steps; `atoms` is where the last of them ended."""
        broken, formed = bond_changes(start, atoms)
        return cls(
            atoms=atoms,
            start=start,
            settings=settings,
            optimizer=settings.chosen(len(atoms)),
            method=method,
            converged=steps[-1].converged,
            energies=np.array([step.energy for step in steps]),
            max_forces=np.array([step.max_force for step in steps]),
            max_stress=steps[-1].max_stress,
            rmsd=rmsd(start, atoms),
            broken=broken,
            formed=formed,
            domain=domain,
            notes=tuple(notes),
            files=tuple(files),
        )

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return len(self.energies) - 1

    @property
    def energy(self) -> float:
        """Of the last structure, eV."""
        return float(self.energies[-1])

    @property
    def energy_change(self) -> float:
        """From the start to the end, eV; negative where the relaxation went downhill."""
        return float(self.energies[-1] - self.energies[0])

    @property
    def max_force(self) -> float:
        """Largest force on an atom at the end, eV/Å."""
        return float(self.max_forces[-1])

    @property
    def volume_change(self) -> float:
        """Relative change of the cell's volume; 0 without a cell."""
        before = float(self.start.cell.volume)
        return float(self.atoms.cell.volume) / before - 1.0 if before else 0.0

    @property
    def remedy(self) -> str:
        """What to do about a relaxation that is not converged; empty if it is."""
        if self.converged:
            return ""
        text = (
            f"the relaxation is not converged after {self.n_steps} steps: the largest force is "
            f"{self.max_force:.4f} eV/Å, fmax {self.settings.fmax:g}"
        )
        if self.settings.cell:
            text += f", stress {self.max_stress / units.GPa:.3f} GPa off"
        return f"{text}. Go on from the last structure, with more steps or another optimizer"

    @property
    def bond_lines(self) -> tuple[str, ...]:
        """What became of the bonds, in capitals where they changed; empty where none did."""
        broken = (f"BONDS BROKEN: {'; '.join(self.broken)}",) if self.broken else ()
        formed = (f"BONDS FORMED: {'; '.join(self.formed)}",) if self.formed else ()
        return (*broken, *formed)

    def text(self) -> str:
        """Returns a few lines for a terminal."""
        state = "converged" if self.converged else "NOT CONVERGED"
        return "\n".join(
            [
                f"{self.atoms.get_chemical_formula()}, {self.method}, {self.optimizer}",
                f"{state} after {self.n_steps} steps",
                *(f"{name:15}{value}" for name, value in self._rows()),
                *self.bond_lines,
                *([f"wrote {', '.join(map(str, self.files))}"] if self.files else []),
            ]
        )

    def _rows(self) -> list[tuple[str, str]]:
        rows = [
            ("energy", f"{self.energy:.6f} eV ({self.energy_change:+.6f} from the start)"),
            (
                "largest force",
                f"{self.max_force:.5f} eV/Å (fmax {self.settings.fmax:g}, "
                f"at the start {self.max_forces[0]:.5f})",
            ),
            ("rmsd", f"{self.rmsd:.4f} Å"),
        ]
        if self.settings.cell:
            change = 100 * self.volume_change
            rows += [
                ("volume", f"{self.atoms.cell.volume:.3f} Å³ ({change:+.2f} %)"),
                ("stress off by", f"{self.max_stress / units.GPa:.4f} GPa"),
            ]
        if self.domain is not None:
            rows.append(("domain", f"{self.domain:.3g}"))
        if not (self.broken or self.formed):
            rows.append(("bonds", "as at the start"))
        return rows

    def as_json(self) -> dict[str, Any]:
        """Returns everything as plain JSON."""
        found: dict[str, Any] = {
            "formula": self.atoms.get_chemical_formula(),
            "method": self.method,
            "optimizer": self.optimizer,
            "fmax_eV_per_A": self.settings.fmax,
            "converged": self.converged,
            "steps": self.n_steps,
            "energy_eV": self.energy,
            "energy_change_eV": self.energy_change,
            "max_force_eV_per_A": self.max_force,
            "rmsd_A": self.rmsd,
            "bonds_broken": list(self.broken),
            "bonds_formed": list(self.formed),
            "domain": self.domain,
            "symbols": list(self.atoms.symbols),
            "positions_A": self.atoms.positions.tolist(),
            "energies_eV": self.energies.tolist(),
            "max_forces_eV_per_A": self.max_forces.tolist(),
            "notes": list(self.notes),
            "files": [str(path) for path in self.files],
        }
        if self.atoms.pbc.any():
            found |= {"cell_A": self.atoms.cell.array.tolist(), "pbc": self.atoms.pbc.tolist()}
        if self.settings.cell:
            found |= {
                "pressure_bar": self.settings.pressure,
                "max_stress_eV_per_A3": self.max_stress,
                "volume_A3": float(self.atoms.cell.volume),
                "volume_change": self.volume_change,
            }
        return found

    def plot(self, path: PathLike | None = None) -> Figure:
        """Draws energy and largest force against the step, and writes the picture to `path`.

        Raises:
            OutputError: the file could not be written.
        """
        from matplotlib.ticker import MaxNLocator

        figure, panels = make_figure(6.0, 4.5, 2, 1, sharex=True)
        upper, lower = panels[:, 0]
        steps = np.arange(self.n_steps + 1)
        upper.plot(steps, self.energies - self.energies[0], color=COLOURS[0], lw=1.2)
        upper.set_ylabel("energy − first (eV)")
        title = "converged" if self.converged else "NOT CONVERGED"
        upper.set_title(f"{self.atoms.get_chemical_formula()}, {self.method}, {title}", fontsize=10)
        lower.semilogy(steps, np.maximum(self.max_forces, 1e-12), color=COLOURS[1], lw=1.2)
        lower.axhline(self.settings.fmax, color="black", lw=1.0, ls="--", label="fmax")
        lower.set_ylabel("largest force (eV/Å)")
        lower.set_xlabel("step")
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
        add_legend(lower)
        return drawn(figure, path)
