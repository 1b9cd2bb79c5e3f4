"""Doing what is to be done: stage by stage, each kept on disk with what it was made from."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from tlpot.building.record import (
    BEGUN,
    RECORD,
    OutputFile,
    Record,
    Spent,
    begin,
    spent,
    write_record,
)
from tlpot.building.stage import Stage, StageContext
from tlpot.building.stage_status import StageStatus, status
from tlpot.errors import ConfigError
from tlpot.files import sole_folder

_JOURNAL = ".journal"
"""Labels in a journal are good whatever else has changed."""


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
                work = StageContext(
                    root=root,
                    folder=root / stage.name,
                    records={name: records[name] for name in stage.needs},
                    executor=executor,
                    in_flight=in_flight,
                    stop=stop,
                    device=device,
                    spent=Spent() if now.state != "begun" else spent(root / stage.name),
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
