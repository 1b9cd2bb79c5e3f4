"""A build as a job: which stages have to be done, and why, doing them, and what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ase import Atoms

from tlpot.building.config import build_config
from tlpot.building.plan import BuildPlan, make_build_plan, up_to
from tlpot.building.stage import (
    BEGUN,
    RECORD,
    Origin,
    OutputFile,
    Record,
    Spent,
    Stage,
    StageContext,
    begin,
    begun,
    read_record,
    write_record,
)
from tlpot.config import job_settings, to_mapping
from tlpot.errors import ConfigError
from tlpot.files import PathLike, sole_folder
from tlpot.numbers import counted
from tlpot.presentation import Column, Result, Table
from tlpot.reports import error_text, named_structures

State = Literal["done", "begun", "to do", "waits"]
_SHOWN = 3

_JOURNAL = ".journal"
"""Labels in a journal are good whatever else has changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageStatus:
    """Where a stage stands.

    Attributes:
        stage: which.
        state: ``done``; ``begun`` and goes on; ``to do``; ``waits`` for a stage that is to be
            done, after which its inputs may turn out to be what they were.
        why: why it is not done; empty for the first time.
        origin: what it is made from; None while it waits.
        record: of the last time that it was finished, out of date or not.
    """

    stage: Stage
    state: State
    why: str
    origin: Origin | None
    record: Record | None


def status(stage: Stage, root: Path, records: Mapping[str, Record | None]) -> StageStatus:
    """Finds out where a stage stands; `records` are None for stages that are not done.

    Raises:
        DataError: a file about it is damaged.
    """
    folder = root / stage.name
    record = read_record(folder)

    def stands(state: State, why: str = "", origin: Origin | None = None) -> StageStatus:
        return StageStatus(stage=stage, state=state, why=why, origin=origin, record=record)

    inputs = {name: records.get(name) for name in stage.needs}
    waiting = [name for name, found in inputs.items() if found is None]
    if waiting:
        return stands("waits", "" if record is None else f"waits for {', '.join(waiting)}")
    digests = {name: found.digest for name, found in inputs.items() if found is not None}
    origin = Origin(settings=stage.settings, inputs=digests)
    if record is not None and record.origin.key == origin.key:
        touched = _touched(folder, record)
        return stands("to do" if touched else "done", touched, origin)
    attempt = begun(folder)
    if attempt is not None and attempt[0].key == origin.key:
        return stands("begun", "was interrupted", origin)
    last = record.origin if record is not None else None if attempt is None else attempt[0]
    return stands("to do", "" if last is None else _difference(last, origin), origin)


def _touched(folder: Path, record: Record) -> str:
    for name, file in record.outputs.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        if not file.is_at(path):
            return f"{path} was changed"
    return ""


def _difference(old: Origin, new: Origin) -> str:
    words = [f"{name} changed" for name in new.inputs if old.inputs.get(name) != new.inputs[name]]
    words += [f"{name} is no longer read" for name in old.inputs if name not in new.inputs]
    words += _changes(old.settings, new.settings)
    more = [f"and {len(words) - _SHOWN} more"] if len(words) > _SHOWN else []
    return "; ".join([*words[:_SHOWN], *more]) or "another version of tlpot made it"


def _changes(before: Any, after: Any, name: str = "") -> Iterator[str]:
    """Yields what differs; groups of settings that only one side has are one change."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            one, other = before.get(key), after.get(key)
            yield from _changes(one, other, f"{name}.{key}" if name else str(key))
    elif before != after:
        yield f"{name}: {_word(before)} -> {_word(after)}"


def _word(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, Mapping):
        given = {key: x for key, x in value.items() if x is not None}
        value = ", ".join(f"{key} {x}" for key, x in given.items())
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def stage_statuses(stages: Sequence[Stage], root: Path) -> list[StageStatus]:
    """Returns where each stage stands before anything is done."""
    records: dict[str, Record | None] = {}
    found = []
    for stage in stages:
        one = status(stage, root, records)
        records[stage.name] = one.record if one.state == "done" else None
        found.append(one)
    return found


def stage_table(statuses: Sequence[StageStatus]) -> str:
    """Returns a line for each stage: state, time, what it does, and why it is to be done."""
    rows = []
    for one in statuses:
        done = one.state == "done"
        seconds = duration(one.record.seconds) if done and one.record is not None else ""
        left = expected(one, {s.stage.name: s.record for s in statuses})
        if not done and left is not None:
            seconds = f"~{duration(left)}"
        why = f" [{one.why}]" if one.why else ""
        rows.append((one.stage.name, one.state, seconds, one.stage.summary + why))
    columns: list[Column | str] = [
        Column("stage", width=17),
        Column("state", width=9, gap=1),
        Column("time", align="right", width=9, gap=1),
        "what",
    ]
    return "\n".join([*Table(columns, rows).lines(), time_left(statuses)])


def time_left(statuses: Sequence[StageStatus]) -> str:
    """Returns how long the stages that are not done took the last time, in words."""
    todo = [one for one in statuses if one.state != "done"]
    if not todo:
        return "nothing to do"
    records = {one.stage.name: one.record for one in statuses}
    known = [expected(one, records) for one in todo]
    seconds = [value for value in known if value is not None]
    text = f"{len(todo)} of {len(statuses)} stages to do"
    if seconds:
        text += f", about {duration(sum(seconds))}"
        if len(seconds) < len(todo):
            new = counted(len(todo) - len(seconds), "stage")
            text += f", and the time of {new} not done before"
    return text


def expected(one: StageStatus, records: Mapping[str, Record | None]) -> float | None:
    """Seconds that a stage took the last time, or one like it did; None if that is not known."""
    record = one.record
    if record is None and one.stage.like is not None:
        record = records.get(one.stage.like)
    return None if record is None else record.seconds


def duration(seconds: float) -> str:
    """Returns ``12 s``, ``3:04 min`` or ``2:30 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} min"
    return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02d} h"


def run_stages(
    stages: Sequence[Stage],
    root: Path,
    *,
    executor: Executor | None = None,
    in_flight: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    device: str | None = None,
    on_start: Callable[[StageStatus], object] = lambda _: None,
    on_end: Callable[[StageStatus, Record], object] = lambda *_: None,
) -> dict[str, Record]:
    """Does all stages that are not done.

    Args:
        stages: in order.
        root: folder of the build.
        executor: runs samplings and labels; None for this process.
        in_flight: labels handed to the executor at a time.
        stop: whether the user has asked to stop.
        device: of models.
        on_start: called before a stage is worked on.
        on_end: called with each stage's record, whether it was worked on or not.

    Raises:
        TLPotError: something is wrong; what was finished is kept.
        KeyboardInterrupt: the user stopped it; so is what was begun.
    """
    records: dict[str, Record] = {}
    with sole_folder(root, "tlpot build", error=ConfigError):
        for stage in stages:
            now = status(stage, root, records)
            if now.state != "done" or now.record is None:
                if stop():
                    raise KeyboardInterrupt
                on_start(now)
                attempt = begun(root / stage.name) if now.state == "begun" else None
                work = StageContext(
                    root=root,
                    folder=root / stage.name,
                    records={name: records[name] for name in stage.needs},
                    executor=executor,
                    in_flight=in_flight,
                    stop=stop,
                    device=device,
                    spent=Spent() if attempt is None else attempt[1],
                )
                records[stage.name] = _do(now, work)
            else:
                records[stage.name] = now.record
            on_end(now, records[stage.name])
    return records


def _do(now: StageStatus, work: StageContext) -> Record:
    assert now.origin is not None  # all stages before it are done
    if now.state != "begun":
        _clear(work.folder, now.stage.kept)
        begin(work.folder, now.origin)
    started = time.perf_counter()
    try:
        made = now.stage.run(work)
    except BaseException:
        work.spent.seconds += time.perf_counter() - started
        begin(work.folder, now.origin, work.spent)
        raise
    work.spent.seconds += time.perf_counter() - started
    record = Record(
        origin=now.origin,
        outputs={name: OutputFile.of(work.folder / name) for name in made.outputs},
        facts=made.facts,
        seconds=round(work.spent.seconds, 3),
        label_seconds=round(work.spent.label_seconds, 3),
    )
    write_record(work.folder, record)
    return record


def _clear(folder: Path, kept: str | None) -> None:
    """Removes what other settings have left, but for the labels and the folder `kept`."""
    if not folder.is_dir():
        return
    # first what says that something is there, so that a kill on the way leaves no half truth
    for name in (BEGUN, RECORD):
        (folder / name).unlink(missing_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.suffix != _JOURNAL and (kept is None or path.parent != folder / kept):
            path.unlink()


def build_plan(
    config: PathLike | Mapping[str, Any] | None,
    structures: PathLike | Sequence[PathLike] | Mapping[str, Atoms | Sequence[Atoms]] | None = None,
    **settings: Any,
) -> BuildPlan:
    """Returns what is to be done.

    `structures` are files, or atoms by name; settings that are not None win over `config`.

    Raises:
        TLPotError: see `make_build_plan`.
    """
    atoms = None
    if isinstance(structures, Mapping):
        atoms = named_structures(structures)
    elif structures is not None:
        paths = [structures] if isinstance(structures, str | os.PathLike) else structures
        settings["structures"] = [str(path) for path in paths]
    given = job_settings(config, "build", **settings)
    return make_build_plan(build_config(given, given.where), atoms)


@dataclass(frozen=True, kw_only=True, repr=False)
class BuildResult(Result):
    """A build: its stages, and what those that are done have to say.

    Attributes:
        plan: the configuration and all stages.
        statuses: where the stages stand, up to the last that was asked for.
        records: of the stages that were done or were there; none where nothing was run.
    """

    plan: BuildPlan
    statuses: tuple[StageStatus, ...]
    records: Mapping[str, Record]

    @classmethod
    def of(
        cls, plan: BuildPlan, until: str | None, records: Mapping[str, Record] | None = None
    ) -> BuildResult:
        """Looks where the stages stand.

        Raises:
            ConfigError: there is no stage `until`.
            DataError: a file about a stage is damaged.
        """
        stages = up_to(plan.stages, until)
        found = stage_statuses(stages, plan.config.output)
        return cls(plan=plan, statuses=tuple(found), records=records or {})

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Errors on fragments before and after the transfer; empty before the report is done."""
        record = self.records.get("report")
        return [] if record is None else list(record.facts["errors"])

    @property
    def warnings(self) -> list[str]:
        """In which respects the last fine-tuning ended worse than it began."""
        facts = [r.facts for name, r in self.records.items() if name.endswith("finetune")]
        return list(facts[-1]["metrics"].get("warnings", ())) if facts else []

    @property
    def snippet(self) -> str:
        """Python that uses the force field; empty before it is assembled."""
        record = self.records.get("assemble")
        return "" if record is None else str(record.facts["snippet"])

    def text(self) -> str:
        """Returns what is built and where it stands, and what came of it."""
        return "\n".join(filter(None, [self.status(), self.conclusion()]))

    def status(self) -> str:
        """Returns what is built, and a line for each stage."""
        names = ", ".join(
            f"{target.name} ({counted(len(target.frames), 'conformation')})"
            for target in self.plan.targets
        )
        return (
            f"{names}: {counted(self.plan.n_kinds, 'kind')} of fragments, {self.plan.low} -> "
            f"{self.plan.high}\n{stage_table(self.statuses)}"
        )

    def conclusion(self) -> str:
        """Returns errors and how to use the force field; empty if it is not done."""
        parts = []
        if self.errors:
            parts.append("\n" + error_text(self.errors))
        parts += [f"warning: {text}" for text in self.warnings]
        if self.snippet:
            parts.append("\nthe force field of a structure `atoms`:\n\n" + self.snippet)
        return "\n".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Returns configuration, stages with times and facts, errors and the snippet."""
        return {
            "config": to_mapping(self.plan.config),
            "stages": [
                {
                    "name": one.stage.name,
                    "state": one.state,
                    "why": one.why,
                    "seconds": None if one.record is None else one.record.seconds,
                    "facts": None if one.record is None else to_mapping(one.record.facts),
                }
                for one in self.statuses
            ],
            "errors": self.errors,
            "calculator": self.snippet,
        }


def run_build(plan: BuildPlan, *, until: str | None = None, **options: Any) -> BuildResult:
    """Does the stages that are not done; `options` and what it raises are those of `run_stages`."""
    records = run_stages(up_to(plan.stages, until), plan.config.output, **options)
    return BuildResult.of(plan, until, records)
