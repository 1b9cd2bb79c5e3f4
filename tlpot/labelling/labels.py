"""Labelling: structures and an engine in, a dataset with labels out, nothing computed twice."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlpot.config import check_least
from tlpot.data import ElectronCheck, is_fragment_file
from tlpot.engines import BatchEngine, Engine, EngineSpec, definition_differences, make_engine
from tlpot.errors import ConfigError, DataError, TLPotWarning
from tlpot.files import check_hdf5_name, make_folder
from tlpot.labelling.journal import InUseError, Journal, LabelRecord, write_failures
from tlpot.labelling.label_file import (
    assemble,
    check_same_definition,
    label_suspicions,
    labelled_geometries,
)
from tlpot.labelling.structures import PathLike, Source, Structures, is_native, read_structures
from tlpot.labelling.task import (
    TRIES,
    LabelOutcome,
    LabelTask,
    check_time_limit,
    engine_key,
    engine_state,
    geometry_key,
    run_labels,
)
from tlpot.numbers import counted, result_fault
from tlpot.presentation import Result, progress_bar
from tlpot.system import System

_SHOWN = 10
"""Failures that are listed; all are in the file that the last line names."""
_PATIENCE = 1.0
"""s between two looks at a journal that another process has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSettings:
    """How labels are worked off, whatever the engine.

    Attributes:
        threads: of each label; None leaves what the workers have.
        in_flight: labels, or batches, handed to the executor at a time; None for 64.
        limit: new labels at most.
        retry_failed: whether what failed before is tried again.
        repair_journal: whether a damaged journal is repaired by dropping damaged lines.
        tries: workers that a geometry may cost before it is given up.
        batch: molecules of one number of atoms that the engine computes at once.
        timeout: s that a label may take; None for any time.
    """

    threads: int | None = None
    in_flight: int | None = None
    limit: int | None = None
    retry_failed: bool = False
    repair_journal: bool = False
    tries: int = TRIES
    batch: int = 1
    timeout: float | None = None

    def __post_init__(self) -> None:
        check_least(self, threads=1, in_flight=1, limit=1, tries=1, batch=1)
        check_time_limit(self.timeout)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class LabelReport(Result):
    """What was done.

    Attributes:
        output: the HDF5 file.
        level: name of the level of theory.
        forces: whether the labels have forces.
        n_stress: labels of this run that have a stress.
        n_frames: structures given.
        n_geometries: different ones among them.
        n_known: geometries that had a label before.
        n_labelled: that got one now.
        failures: of this run and, unless tried again, of those before.
        n_left: geometries that have neither a label nor a failure.
        seconds: by the workers' clocks, of the labels of this run together.
        notes: what else should be known.
        warnings: what is suspicious about the new labels, see `label_suspicions`.
    """

    output: Path
    level: str
    forces: bool
    n_stress: int
    n_frames: int
    n_geometries: int
    n_known: int
    n_labelled: int
    failures: tuple[LabelRecord, ...]
    n_left: int
    seconds: float
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def text(self) -> str:
        """Returns what to read."""
        kinds = "energies and forces" if self.forces else "energies only"
        stress = f" ({self.n_stress} with stress)" if self.n_stress else ""
        lines = [
            f"{self.level}, {kinds}: {self.n_labelled} labelled now{stress}, "
            f"{self.n_known} before, {len(self.failures)} failed, {self.n_left} left, of "
            f"{counted(self.n_geometries, 'geometry')} "
            f"in {counted(self.n_frames, 'frame')}"
        ]
        if self.n_labelled:
            lines.append(f"{self.seconds / self.n_labelled:.3g} s for each label")
        lines += [f"note: {note}" for note in self.notes]
        if self.warnings:
            lines.append("note: engines are read in eV, eV/Å and eV/Å³")
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

    def failure_text(self) -> str:
        """Returns the first failures, and where all are; empty if there are none."""
        if not self.failures:
            return ""
        lines = [f"failed: {r.name}: {r.outcome.error}" for r in self.failures[:_SHOWN]]
        more = len(self.failures) - _SHOWN
        lines.append(
            (f"and {more} more; " if more > 0 else "")
            + f"logs in {self.output}.failures.txt; --retry-failed (retry_failed=True) tries them "
            "again"
        )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Returns plain values; of failures name and error."""
        failures = [{"name": r.name, "error": r.outcome.error} for r in self.failures]
        content = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**content, "output": str(self.output), "failures": failures,
                "notes": list(self.notes), "warnings": list(self.warnings)}  # fmt: skip


def label(
    structures: Source | Structures,
    engine: EngineSpec | str,
    output: PathLike,
    *,
    settings: LabelSettings | None = None,
    executor: Executor | None = None,
    stop: Callable[[], bool] = lambda: False,
    show: bool = True,
) -> LabelReport:
    """Labels structures, and adds the labels to a dataset in the native layout.

    Every label is in the journal (``OUTPUT.journal``) before the next is waited for; the HDF5
    file is put together from it at the end, an interruption included. The same call continues.
    Of the journal only labels of the given structures are added.

    Args:
        structures: read already, or what `read_structures` reads.
        engine: name or description of the engine.
        output: the HDF5 file. If it exists, all in it is kept and labels are added. It must
            hold the structures, or the source is plain structures that have grown: those that
            the file has, and more. It may be the source itself.
        settings: how the labels are worked off.
        executor: runs the labels, on other machines too; None for this process. It is not shut
            down.
        stop: when it returns True, what runs is finished and nothing else is started.
        show: whether to show a progress bar.

    Raises:
        TLPotError: something is wrong with the structures, the engine or the files; nothing
            has been computed then.
        KeyboardInterrupt: everything that was labelled is in the file.
    """
    settings = settings or LabelSettings()
    if isinstance(engine, str):
        engine = EngineSpec(name=engine)
    target = Path(output)
    if not target.exists():
        check_hdf5_name(target)
    given = structures if isinstance(structures, Structures) else read_structures(structures)
    for problem in given.problems:
        if problem.severity == "warning":
            warnings.warn(problem.what, TLPotWarning, stacklevel=2)
    made = make_engine(engine)
    elements = sorted({int(z) for system in given.systems for z in system.atomic_numbers})
    made.check(elements, periodic=any(system.pbc.any() for system in given.systems))
    if settings.batch > 1 and not (isinstance(made, BatchEngine) and made.takes_batches):
        raise ConfigError(
            f"{made.level} is computed one structure at a time; leave batch={settings.batch} "
            "(--batch) out, or take several workers"
        )
    _warn_of_odd_cells(given)
    forces = made.has_forces and engine.forces != "no"
    geometries = _geometries(given.systems)
    known = _known(given, target, made, geometries, forces)
    with Journal(
        target.with_name(f"{target.name}.journal"), repair=settings.repair_journal
    ) as journal:
        work = _Work(journal, made, engine, forces, given.systems, given.names)
        todo = work.todo(known, settings.retry_failed)[: settings.limit]
        tasks = [work.task(key, settings) for key in todo]
        n_known = sum(key in known or work.has(key) for key in geometries)
        if tasks:
            _warn_of_other_settings(journal, work.key, made, geometries)
            journal.define(work.key, made.level, made.definition)
        bar = progress_bar(total=len(tasks), disable=not show, unit="label", desc=made.level)
        outcomes = run_labels(
            tasks,
            executor,
            in_flight=settings.in_flight,
            tries=settings.tries,
            stop=stop,
            batch=settings.batch,
        )
        try:
            with bar, closing(outcomes):
                for task, outcome in outcomes:
                    work.take(task, outcome)
                    if work.n_failed:
                        bar.set_postfix_str(f"{work.n_failed} failed", refresh=False)
                    bar.update()
        finally:
            # a file that would not change is not touched, so that its hash stays
            new = any(work.has(key) for key in geometries if key not in known)
            if new or (known and not target.exists()):
                assemble(given, target, made.level, made.definition, work.asked)
        failures = work.failures(known)
        write_failures(target, failures)
        return LabelReport(
            output=target,
            level=made.level,
            forces=forces,
            n_stress=work.n_stress,
            n_frames=len(given.systems),
            n_geometries=len(geometries),
            n_known=n_known,
            n_labelled=work.n_labelled,
            failures=failures,
            n_left=len(geometries) - n_known - work.n_labelled - len(failures),
            seconds=work.seconds,
            notes=(*given.notes, *journal.notes),
            warnings=work.suspicions(todo),
        )


def kept_labels(
    systems: Sequence[System],
    names: Sequence[str],
    engine: EngineSpec,
    path: Path,
    *,
    forces: bool,
) -> list[LabelOutcome]:
    """Returns what an engine says of structures; nothing that a journal holds is computed again.

    Processes that share the journal wait for each other.

    Args:
        systems: the structures.
        names: one for each, for messages.
        engine: as plain data.
        path: the journal, created if it is not there.
        forces: whether they are needed.

    Raises:
        TLPotError: something is wrong with the engine, the structures or the journal.
    """
    made = make_engine(engine)
    elements = sorted({int(z) for system in systems for z in system.atomic_numbers})
    made.check(elements, periodic=any(system.pbc.any() for system in systems))
    make_folder(path.parent)
    path.touch()
    while True:
        with Journal(path, read_only=True) as journal:
            work = _Work(journal, made, engine, forces, systems, names)
            if not work.todo(set(), retry_failed=False):
                found = {key: work.outcome(key) for key in _geometries(systems)}
                return [found[geometry_key(system)] or LabelOutcome() for system in systems]
        try:
            with Journal(path) as journal:
                work = _Work(journal, made, engine, forces, systems, names)
                tasks = [
                    work.task(key, LabelSettings()) for key in work.todo(set(), retry_failed=False)
                ]
                journal.define(work.key, made.level, made.definition)
                with progress_bar(total=len(tasks), unit="label", desc=made.level) as bar:
                    for task, outcome in run_labels(tasks):
                        work.take(task, outcome)
                        bar.update()
        except InUseError:
            time.sleep(_PATIENCE)


def _geometries(systems: Sequence[System]) -> dict[str, int]:
    """Returns the first structure of each geometry, by its key."""
    found: dict[str, int] = {}
    for k, system in enumerate(systems):
        found.setdefault(geometry_key(system), k)
    return found


def _warn_of_odd_cells(given: Structures) -> None:
    """Says which multiplicity molecules in boxes get, and crystals that state an impossible one."""
    check = ElectronCheck()
    odd = [
        name
        for system, name in zip(given.systems, given.names, strict=True)
        if system.pbc.any() and any(check.problems(system))
    ]
    if odd:
        warnings.warn(
            f"{counted(len(odd), 'periodic structure')} ({odd[0]}{', ...' if len(odd) > 1 else ''})"
            " cannot have the multiplicity that is taken (1 where none is stated): the number of "
            "electrons is odd, or a charge is missing; an engine that reads it will refuse it, any "
            "other has a multiplicity of its own",
            TLPotWarning,
            stacklevel=3,
        )


def _warn_of_other_settings(
    journal: Journal, key: str, engine: Engine, geometries: Mapping[str, int]
) -> None:
    """Says that labels of the same level are there, but were computed in another way.

    An output refuses such labels; a run that was killed has left none, and they cost as much.
    """
    if key in journal.definitions:
        return
    for other, made in journal.definitions.items():
        count = sum(journal.get(other, geometry) is not None for geometry in geometries)
        if made["level"] == engine.level and count:
            what = "; ".join(definition_differences(made["definition"], engine.definition))
            warnings.warn(
                f"{journal.path} has {counted(count, 'label')} at {engine.level!r} that were "
                f"computed in another way ({what}). They are not used, and these geometries are "
                "computed again; if that is not meant, stop, and give the settings of before",
                TLPotWarning,
                stacklevel=3,
            )


class _Work:
    """The bookkeeping of one run."""

    def __init__(
        self,
        journal: Journal,
        engine: Engine,
        spec: EngineSpec,
        forces: bool,
        systems: Sequence[System],
        names: Sequence[str],
    ) -> None:
        self.key = engine_key(engine.level, engine.definition)
        self._state = engine_state(engine)
        self._level = engine.level
        self.n_labelled = self.n_stress = self.n_failed = 0
        self.seconds = 0.0
        self._journal, self._spec, self._forces = journal, spec, forces
        self._systems, self._names = systems, names
        self._geometries = _geometries(systems)

    def outcome(self, geometry: str) -> LabelOutcome | None:
        record = self._record(geometry)
        return None if record is None else record.outcome

    def _record(self, geometry: str) -> LabelRecord | None:
        """What the journal has; forces of another shape were once kept, and are a failure."""
        record = self._journal.get(self.key, geometry)
        if record is None or record.outcome.forces is None:
            return record
        n_atoms = len(self._systems[self._geometries[geometry]])
        fault = result_fault({"forces": record.outcome.forces}, n_atoms)
        if fault is None:
            return record
        outcome = LabelOutcome(error=f"the program gave {fault}", cost=record.outcome.cost)
        return replace(record, outcome=outcome)

    def asked(self, geometry: str) -> LabelOutcome | None:
        """As `outcome`, but only of what was given: a journal knows what others asked for."""
        return self.outcome(geometry) if geometry in self._geometries else None

    def has(self, geometry: str) -> bool:
        """Whether the journal has the label that is wanted."""
        found = self.outcome(geometry)
        return (
            found is not None
            and found.energy is not None
            and (found.forces is not None or not self._forces)
        )

    def todo(self, known: set[str], retry_failed: bool) -> list[str]:
        return [
            geometry
            for geometry in self._geometries
            if geometry not in known
            and not self.has(geometry)
            and (retry_failed or not self._failed(geometry))
        ]

    def task(self, geometry: str, settings: LabelSettings) -> LabelTask:
        return LabelTask(
            geometry=geometry,
            system=self._systems[self._geometries[geometry]],
            engine=self._spec,
            forces=self._forces,
            threads=settings.threads,
            timeout=settings.timeout,
            state=self._state,
        )

    def take(self, task: LabelTask, outcome: LabelOutcome) -> None:
        name = self._names[self._geometries[task.geometry]]
        self._journal.append(
            LabelRecord(engine=self.key, geometry=task.geometry, name=name, outcome=outcome)
        )
        if outcome.error is None:
            self.n_labelled += 1
            self.n_stress += outcome.stress is not None
            self.seconds += 0.0 if outcome.cost is None else outcome.cost.seconds
        else:
            self.n_failed += 1

    def suspicions(self, geometries: Sequence[str]) -> tuple[str, ...]:
        """What speaks against the labels of this run."""
        pairs = [(self._systems[self._geometries[k]], self.outcome(k)) for k in geometries]
        done = [(system, outcome) for system, outcome in pairs if outcome is not None]
        return label_suspicions(self._level, [s for s, _ in done], [o for _, o in done])

    def failures(self, known: set[str]) -> tuple[LabelRecord, ...]:
        return tuple(
            record
            for geometry in self._geometries
            if geometry not in known
            and self._failed(geometry)
            and (record := self._record(geometry)) is not None
        )

    def _failed(self, geometry: str) -> bool:
        found = self.outcome(geometry)
        return found is not None and found.error is not None


def _known(
    given: Structures, target: Path, engine: Engine, geometries: Mapping[str, int], forces: bool
) -> set[str]:
    """Checks that labels can go into the output, and returns what is labelled there already."""
    home = target if target.exists() else given.home
    if home is None:
        return set()
    if target.exists():
        if not is_native(target):
            raise DataError(
                f"{target} exists and is not a dataset in tlpot's own layout; write to another file"
            )
        if given.home is None or not target.samefile(given.home):
            held = {geometry_key(system) for system in read_structures(target).systems}
            absent = [geometry for geometry in geometries if geometry not in held]
            grown = given.frames and held <= geometries.keys() and not is_fragment_file(target)
            if absent and not grown:
                raise DataError(
                    f"{target} exists and does not hold {len(absent)} of {len(geometries)} "
                    f"geometries (the first is {given.names[geometries[absent[0]]]}). Geometries "
                    "are added only from a source of plain structures that still has all that "
                    "the file holds; write to another file, and join the two with 'tlpot data "
                    "convert'"
                )
    check_same_definition(home, engine.level, engine.definition)
    return labelled_geometries(home, engine.level, forces=forces) & geometries.keys()
