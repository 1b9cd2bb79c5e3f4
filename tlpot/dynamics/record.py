"""The files of a molecular-dynamics run, readable whenever the run ends, and how to go on."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import astuple
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator

from tlpot._version import __version__
from tlpot.config import differences, to_mapping
from tlpot.data import parse_xyz_atoms
from tlpot.dynamics.runner import Sample
from tlpot.dynamics.settings import MDSettings
from tlpot.errors import ConfigError, DataError, OutputError
from tlpot.files import PathLike, sole_use, write_text, writing
from tlpot.models import identity, plain
from tlpot.stored_results import read_json, write_json
from tlpot.structures import extxyz_text
from tlpot.system import System

LOST = "lost_constraints"
"""The key under which frames name constraints that the file cannot hold."""

COLUMNS = ("step", "time_fs", "total_eV", "potential_eV", "temperature_K")
EXTRA_COLUMNS = {
    "volume": "volume_A3",
    "density": "density_g_cm3",
    "pressure": "pressure_bar",
    "energy_std": "energy_std_eV",
}
"""Columns that not every run has, by the field of a `Sample`."""

_FREE = ("steps",)
"""Settings that a resumed run may change."""


_ENDINGS = (".xyz", ".csv", ".png", ".setup.json")
_OTHER_FORMATS = frozenset({
    ".extxyz", ".dcd", ".xtc", ".trr", ".nc", ".netcdf", ".traj", ".pdb", ".cif", ".h5", ".hdf5",
    ".h5md", ".lammpstrj", ".dump", ".gro", ".db", ".json", ".log", ".txt", ".tsv", ".dat", ".pdf",
    ".svg", ".jpg", ".gz", ".zip", ".npz", ".vasp", ".poscar", ".xdatcar",
})  # fmt: skip
"""What somebody may mean for a format; other endings, as in ``md_0.5``, are part of a name."""


def _prefix(out: Path) -> Path:
    """Returns the path of a run's files without ending."""
    if out.is_dir():
        return out / "md"
    for ending in _ENDINGS:
        if out.name.lower().endswith(ending) and out.name.lower() != ending:
            return out.with_name(out.name[: -len(ending)])
    if out.suffix.lower() in _OTHER_FORMATS:
        bare = out.with_suffix("")
        raise OutputError(
            f"output (--output) {out} ends in {out.suffix}, in which nothing is written; expected "
            f"a path without ending, or with .xyz: the trajectory is {bare}.xyz, with velocities "
            f"and forces, the log {bare}.csv. tlpot.structures.write_trajectory makes DCD and XTC "
            "of it, ase convert other formats"
        )
    return out


class MDRecord:
    """A trajectory (extended XYZ with velocities and forces) and a log (CSV).

    Energies and forces of the trajectory are the calculator's, without constraints. Fixed atoms
    and Cartesian coordinates are kept in it, other constraints are named.

    A row is written before its frame, each in one piece and flushed, so that every frame has
    a row and a killed run loses at most one frame. Beside them is what the run was started with.

    Args:
        out: path without ending; ``.xyz``, ``.csv``, ``.png`` and ``.setup.json`` are appended,
            and may be there. A folder stands for ``md`` inside it.

    Raises:
        OutputError: the ending of a format that is not written.
    """

    def __init__(self, out: PathLike) -> None:
        prefix = _prefix(Path(out))
        self.trajectory, self.log, self.plot, self.setup = (
            prefix.with_name(prefix.name + ending) for ending in _ENDINGS
        )
        self.samples: list[Sample] = []
        self.extras: tuple[str, ...] = ()
        self._handles: list[io.TextIOWrapper] = []
        self._lock = ExitStack()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A context at whose end others may write the files that were started or resumed in it."""
        try:
            yield
        finally:
            self._lock.close()

    def _take(self) -> None:
        self._lock.enter_context(sole_use(self.trajectory, "tlpot md"))

    def start(self, setup: Mapping[str, Any], *, overwrite: bool) -> None:
        """Makes sure that the files may be written, and writes what the run starts with.

        With `overwrite` the files of another run are removed.

        Raises:
            OutputError: a file exists and may not be overwritten.
        """
        files = (self.trajectory, self.log, self.plot, self.setup)
        with writing(self.trajectory):
            self.trajectory.parent.mkdir(parents=True, exist_ok=True)
        self._take()
        for path in files:
            if path.exists() and not overwrite:
                raise OutputError(
                    f"{path} exists; go on with --resume (resume=True), replace it with "
                    "--overwrite (overwrite=True), or choose another --output"
                )
        with writing(self.trajectory):
            for path in files:  # never beside the setup or the picture of another run
                path.unlink(missing_ok=True)
        write_json(self.setup, {"tlpot": __version__, **setup})

    def resume(self, atoms: Atoms, setup: Mapping[str, Any]) -> None:
        """Moves `atoms` to the last complete frame, and cuts the files there.

        `atoms` is the structure that the run was started with, and `setup` is `md_setup`'s.

        Raises:
            DataError: there is no such frame, or it is of another structure; or nothing says
                what the run was started with.
            ConfigError: it was started with another setup.
        """
        if not self.trajectory.is_file():
            raise DataError(f"there is nothing to resume: {self.trajectory} does not exist")
        self._take()
        first = self._first()  # all checks come before anything is cut off
        if first is not None and first.numbers.tolist() != atoms.numbers.tolist():
            raise DataError(
                f"{self.trajectory} holds {first.get_chemical_formula()}, not this "
                f"{atoms.get_chemical_formula()} with its order of atoms; "
                "give the structure that the run was started with"
            )
        with writing(self.trajectory):
            last, end = _last_frame(self.trajectory, len(atoms))
        check_setup(self.setup, setup, self.trajectory)
        samples = read_log(self.log)
        self.extras = _extras(self.log)  # a log keeps the columns that it was begun with
        with writing(self.trajectory):
            os.truncate(self.trajectory, end)
        atoms.set_cell(last.cell, apply_constraint=False)
        atoms.set_positions(last.positions, apply_constraint=False)
        atoms.set_momenta(last.get_momenta(), apply_constraint=False)
        self.samples = [s for s in samples if s.step <= last.info["step"]]
        if not self.samples or self.samples[-1].step != last.info["step"]:
            raise DataError(f"{self.log} lacks the row of the last frame in {self.trajectory}")
        write_text(self.log, "".join([self._header(), *map(self._row, self.samples)]))

    def kept(self) -> str:
        """Returns what there is of the run, and how it goes on, for whoever interrupted it."""
        if not self.samples:
            return "no frame was written yet"
        last = self.samples[-1]
        return (
            f"{self.trajectory} holds {len(self.samples)} frames up to step {last.step} "
            f"({last.time / 1e3:g} ps); the same with --resume (resume=True) goes on from there"
        )

    def _first(self) -> Atoms | None:
        """Returns the first frame, or None if not even that is whole."""
        try:
            with self.trajectory.open(encoding="utf-8") as handle:
                n_lines = int(handle.readline()) + 2
                handle.seek(0)
                text = "".join(islice(handle, n_lines))
            return parse_xyz_atoms(text, self.trajectory)[0]
        except (OSError, ValueError, DataError):
            return None

    def __enter__(self) -> MDRecord:
        with writing(self.trajectory):
            for path in (self.log, self.trajectory):
                self._handles.append(path.open("a", encoding="utf-8", newline=""))
            if not self.samples:
                self._handles[0].write(self._header())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.close()
        self._handles.clear()

    def add(self, sample: Sample, atoms: Atoms) -> None:
        """Writes a row and a frame.

        Raises:
            OutputError: the disk is full, say.
        """
        frame = atoms.copy()
        lost = lost_constraints(atoms)
        if lost:
            frame.info[LOST] = ",".join(lost)
        frame.info.update(step=sample.step, time_fs=sample.time)
        if "energy_std" in self.extras:
            frame.info["energy_std"] = sample.energy_std
        # labels are the calculator's; what constraints add to the energy is in the log alone
        frame.calc = SinglePointCalculator(
            frame,
            energy=float(atoms.get_potential_energy(apply_constraint=False)),
            forces=atoms.get_forces(apply_constraint=False),
        )
        contents = self._row(sample), extxyz_text([frame])
        with writing(self.trajectory):
            for handle, content in zip(self._handles, contents, strict=True):
                handle.write(content)
                handle.flush()
        self.samples.append(sample)

    def _header(self) -> str:
        return _line((*COLUMNS, *(EXTRA_COLUMNS[name] for name in self.extras)))

    def _row(self, sample: Sample) -> str:
        extras = (getattr(sample, name) for name in self.extras)
        return _line((*astuple(sample)[: len(COLUMNS)], *extras))


def md_setup(settings: MDSettings, calculator: Calculator, atoms: Atoms) -> dict[str, Any]:
    """Returns what must be the same for a resumed run to go on with the same dynamics.

    That is all settings but the number of steps, the calculator, see `identity`, and what of the
    structure no frame holds. Device, threads and kernels may change.

    Positions, cell and velocities of the atoms do not count.
    """
    system = System.from_atoms(atoms)
    kept = {key: value for key, value in to_mapping(settings).items() if key not in _FREE}
    structure = {
        "charge": system.charge,
        "spin": system.spin,
        "pbc": atoms.pbc,
        "masses": atoms.get_masses(),
        "constraints": [constraint.todict() for constraint in atoms.constraints],
    }
    parts = {"settings": kept, "structure": structure}
    setup: dict[str, Any] = json.loads(json.dumps(parts, default=plain))
    return {**setup, "calculator": identity(calculator)}


def _defaults() -> dict[str, Any]:
    return {key: value for key, value in to_mapping(MDSettings()).items() if key not in _FREE}


def check_setup(path: Path, setup: Mapping[str, Any], trajectory: Path) -> None:
    """Checks that a run may be resumed with a setup.

    `path` is the record of the run; `trajectory` is for messages.

    Raises:
        DataError: there is no record, or it is damaged.
        ConfigError: the run was started with something else; each difference is named.
    """
    afresh = (
        f"start a new run from its last frame, whose velocities are kept: give {trajectory} as "
        "the structure and another --output"
    )
    found = read_json(path, afresh)
    if found is None:
        raise DataError(
            f"{trajectory} cannot be resumed: {path}, which says with what model and settings the "
            f"run was started, is not there (runs from before tlpot kept it have none); {afresh}"
        )
    try:
        recorded = {key: dict(found[key]) for key in setup}
        # a run of before a setting existed had what is its default now
        recorded["settings"] = {**_defaults(), **recorded["settings"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r}); {afresh}") from error
    differing = differences(recorded, setup)
    if differing:
        raise ConfigError(
            f"{trajectory} was run with something else: {'; '.join(differing)}. Resume with what "
            f"it was started with (only its length, the device and the threads may change), or "
            f"{afresh}"
        )


def lost_constraints(atoms: Atoms) -> list[str]:
    """Returns the kinds of constraints that a trajectory cannot hold, in words."""
    if not atoms.constraints:
        return []
    from ase.constraints import FixAtoms, FixCartesian

    kept = (FixAtoms, FixCartesian)
    return sorted({type(c).__name__ for c in atoms.constraints if not isinstance(c, kept)})


def read_log(path: PathLike) -> list[Sample]:
    """Reads the complete rows of a log.

    Raises:
        DataError: no such file, or not such a log.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"could not read the log {path}: {error.strerror}") from error
    complete = text[: text.rfind("\n") + 1]
    header, *rows = csv.reader(complete.splitlines()) if complete else [[]]
    known = {column: name for name, column in EXTRA_COLUMNS.items()}
    n = len(COLUMNS)
    if tuple(header[:n]) != COLUMNS or not set(header[n:]) <= set(known):
        raise DataError(f"{path} is not a log of tlpot md: expected the columns {COLUMNS}")
    extras = [known[column] for column in header[n:]]
    return [
        Sample(
            int(row[0]),
            *map(float, row[1:n]),
            **dict(zip(extras, map(float, row[n:]), strict=True)),
        )
        for row in rows
    ]


def _extras(path: Path) -> tuple[str, ...]:
    """Returns the fields that the log has beyond those of every run."""
    with path.open(encoding="utf-8") as handle:
        header = handle.readline().strip().split(",")
    return tuple(name for name, column in EXTRA_COLUMNS.items() if column in header)


def _line(values: tuple[object, ...]) -> str:
    return ",".join(f"{v:.9f}" if isinstance(v, float) else str(v) for v in values) + "\n"


def _last_frame(path: Path, n_atoms: int) -> tuple[Atoms, int]:
    """Returns the last complete frame, of `n_atoms` + 2 lines as all are, and where it ends."""
    start = end = position = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            position += len(line)
            if number % (n_atoms + 2) == 0 and line.endswith(b"\n"):
                start, end = end, position
        if end == 0:
            raise DataError(f"there is nothing to resume: {path} has no complete frame")
        handle.seek(start)
        text = handle.read(end - start).decode("utf-8")
    return parse_xyz_atoms(text, path)[0], end
