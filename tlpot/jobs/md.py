"""Molecular dynamics as a job: what it starts from, and its result."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from tlpot.config import to_mapping
from tlpot.dynamics import MDRecord, MDResult, Sample
from tlpot.errors import ConfigError, OutputError
from tlpot.jobs.calculator import Structure, check_masses, given_atoms
from tlpot.presentation import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, repr=False)
class MolecularDynamics(Result):
    """A run with what it was a run of.

    Attributes:
        run: samples, files and the last structure.
        method: what computed the forces, in words.
        velocities: where those of the start are from, in words.
        notes: what the reader of the structure had to say.
    """

    run: MDResult
    method: str
    velocities: str
    notes: tuple[str, ...] = ()

    @property
    def atoms(self) -> Atoms:
        """The last structure, with velocities and calculator."""
        return self.run.atoms

    def text(self) -> str:
        """Returns what was run, and what came of it."""
        s = self.run.settings
        return (
            f"{self.atoms.get_chemical_formula()}, {self.method}, {s.ensemble}, "
            f"{s.steps} steps of {s.timestep:g} fs, velocities {self.velocities}\n"
            + self.run.summary()
        )

    def as_json(self) -> dict[str, Any]:
        """Returns settings, summary and all rows of the log; fs, eV, K, meV/atom/ps, s."""
        run, names = self.run, [field.name for field in fields(Sample)]
        return {
            "formula": self.atoms.get_chemical_formula(),
            "method": self.method,
            "settings": to_mapping(run.settings),
            "steps": run.samples[-1].step,
            "stopped": run.stopped,
            "temperature_mean": float(run.temperatures.mean()),
            "temperature_std": float(run.temperatures.std()),
            "drift": run.drift,
            "seconds_per_step": run.seconds_per_step,
            "files": [str(run.trajectory), str(run.log), str(run.plot)],
            "samples": [dict(zip(names, astuple(sample), strict=True)) for sample in run.samples],
        }

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Returns the picture of energies and temperature, and writes it where that is asked for.

        Raises:
            OutputError: the file could not be written.
        """
        from tlpot.dynamics import plot_md

        s = self.run.settings
        title = f"{self.atoms.get_chemical_formula()}, {s.ensemble}, {s.timestep:g} fs"
        return plot_md(self.run.samples, path, title)


@dataclass(frozen=True, kw_only=True)
class MDStart:
    """What a run starts from.

    Attributes:
        atoms: of the caller's own, with the velocities of the structure.
        velocities: where those of the start are from, in words.
        notes: what the reader of the structure had to say.
    """

    atoms: Atoms
    velocities: str
    notes: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        structure: Structure,
        output: str | os.PathLike[str],
        *,
        resume: bool,
        charge: int | None = None,
        spin: int | None = None,
    ) -> MDStart:
        """Opens a structure.

        Args:
            structure: a file, a molecule's name, or atoms, which are copied.
            output: path of the files of the run, see `MDRecord`.
            resume: the run goes on.
            charge: total charge in e, in place of what the structure says.
            spin: multiplicity 2S + 1, likewise.

        Raises:
            DataError: neither a file nor the name of a molecule, or an unreadable file.
            ConfigError: something else was given.
            GeometryError: a mass that is not above zero.
            OutputError: the trajectory would replace the structure, which may be the only copy, or
                the output has the ending of another format.
        """
        trajectory = MDRecord(output).trajectory
        if not resume and isinstance(structure, str | os.PathLike):
            _check_trajectory(Path(structure), output, trajectory)
        atoms, notes = given_atoms(structure, charge=charge, spin=spin)
        check_masses(atoms)
        velocities = "of the last frame" if resume else "drawn"
        if not resume and atoms.get_momenta().any():
            velocities = "of the structure"
        return cls(atoms=atoms, velocities=velocities, notes=notes)


def _check_trajectory(structure: Path, output: str | os.PathLike[str], trajectory: Path) -> None:
    if structure.exists() and trajectory.exists() and structure.samefile(trajectory):
        raise OutputError(
            f"output (--output) {output} would write the trajectory to {trajectory}, which is the "
            "structure to start from; choose another name"
        )


def n_steps(time: float, timestep: float) -> int:
    """Returns the number of steps in a time.

    Args:
        time: ps.
        timestep: fs.

    Raises:
        ConfigError: one is not positive, or the time is less than half a step.
    """
    for name, value, unit in (("timestep", timestep, "fs"), ("time", time, "ps")):
        if not 0 < value < float("inf"):
            raise ConfigError(f"{name} is {value}, expected a positive number in {unit}")
    found = round(1e3 * time / timestep)
    if found < 1:
        raise ConfigError(
            f"time is {time:g} ps, less than a step of {timestep:g} fs; expected a length in ps "
            f"of at least {1e-3 * timestep:g}, or a shorter timestep"
        )
    return found
