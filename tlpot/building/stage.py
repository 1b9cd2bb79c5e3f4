"""A stage of a build, and the seam through which it gets what it needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlpot.building.record import Record, Spent


@dataclass(frozen=True, kw_only=True, slots=True)
class StageResult:
    """What a stage has made.

    Attributes:
        outputs: paths relative to the stage's folder, of what others may depend on.
        facts: what it has to say, plain JSON; nothing depends on them.
    """

    outputs: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageContext:
    """What a stage works with.

    Attributes:
        root: folder of the build.
        folder: of the stage.
        records: of the stages that it reads, by name.
        executor: runs parts; None for this process.
        in_flight: parts handed to the executor at a time; None for its own choice.
        stop: whether the user has asked to stop.
        device: of models.
        spent: time that the stage has taken in earlier attempts.
    """

    root: Path
    folder: Path
    records: Mapping[str, Record]
    executor: Executor | None = None
    in_flight: int | None = None
    stop: Callable[[], bool] = lambda: False
    device: str | None = None
    spent: Spent = field(default_factory=Spent)

    @contextmanager
    def labelling(self) -> Iterator[None]:
        """Books what is done inside as the time of labels, which a table counts as such."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent.label_seconds += time.perf_counter() - started

    def of(self, stage: str, name: str) -> Path:
        """Returns a file of another stage."""
        return self.root / stage / name


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A step with an artefact.

    Attributes:
        name: of its folder.
        summary: what it does, for the table.
        settings: its part of the configuration, plain JSON.
        needs: names of the stages that it reads.
        run: does the work; what it writes under its folder must be whole at any moment.
        like: a stage that takes about as long, for the time left.
        kept: a folder in its own whose files are named by all that they were made from, so that
            those of other settings may stay.
    """

    name: str
    summary: str
    settings: Mapping[str, Any]
    needs: tuple[str, ...]
    run: Callable[[StageContext], StageResult]
    like: str | None = None
    kept: str | None = None
