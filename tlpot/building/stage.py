"""Stages of a build, and what is known of each on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tlpot import stored_results as results
from tlpot.errors import DataError
from tlpot.files import file_hash, make_folder
from tlpot.stored_results import write_json

_AGAIN = "remove it to have its stage done again"
RECORD, BEGUN = "stage.json", "begun.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """All that a stage's result depends on.

    Attributes:
        settings: its part of the configuration, plain JSON.
        inputs: digests of the stages that it reads, by name.
    """

    settings: Mapping[str, Any]
    inputs: Mapping[str, str]

    @property
    def key(self) -> str:
        """A hash, equal for equal origins."""
        content = [FORMAT_VERSION, self.settings, dict(self.inputs)]
        return results.digest(content, ascii_only=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputFile:
    """A file as it was when its stage was finished.

    Attributes:
        sha256: of the content.
        size: bytes.
        mtime_ns: with an equal size and time the content is taken to be the same.
    """

    sha256: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> OutputFile:
        """Reads and hashes a file."""
        found = file_hash(path)
        status = path.stat()
        return cls(sha256=found, size=status.st_size, mtime_ns=status.st_mtime_ns)

    def is_at(self, path: Path) -> bool:
        """Whether a file still has this content."""
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns):
            return True
        return status.st_size == self.size and OutputFile.of(path).sha256 == self.sha256


@dataclass(kw_only=True, slots=True)
class Spent:
    """Time that a stage has taken so far.

    Attributes:
        seconds: by the clock.
        label_seconds: the part of it that went into labels.
    """

    seconds: float = 0.0
    label_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A finished stage.

    Attributes:
        origin: what it was made from.
        outputs: files by path relative to the stage's folder.
        facts: what it has to say, plain JSON.
        seconds: by the clock, of all attempts; one that was killed outright left no time.
        label_seconds: the part of it that went into labels, which have clocks of their own.
    """

    origin: Origin
    outputs: Mapping[str, OutputFile]
    facts: Mapping[str, Any]
    seconds: float
    label_seconds: float = 0.0

    @property
    def digest(self) -> str:
        """A hash of what was made; stages that read it depend on nothing else."""
        hashes = {name: file.sha256 for name, file in self.outputs.items()}
        return results.digest(hashes, ascii_only=False)


def read_record(folder: Path) -> Record | None:
    """Returns the record of a stage; None if it was never finished.

    Raises:
        DataError: the file is damaged.
    """
    content = _read(folder / RECORD)
    if content is None or content.get("format_version") != FORMAT_VERSION:
        return None
    try:
        return Record(
            origin=Origin(settings=content["settings"], inputs=content["inputs"]),
            outputs={name: OutputFile(**file) for name, file in content["outputs"].items()},
            facts=content["facts"],
            seconds=content["seconds"],
            label_seconds=content.get("label_seconds", 0.0),
        )
    except (KeyError, TypeError) as error:
        raise _damaged(folder / RECORD, error) from error


def write_record(folder: Path, record: Record) -> None:
    """Writes the record of a stage, and forgets that it was begun."""
    content = {
        "format_version": FORMAT_VERSION,
        "settings": record.origin.settings,
        "inputs": dict(record.origin.inputs),
        "outputs": {name: asdict(file) for name, file in record.outputs.items()},
        "facts": record.facts,
        "seconds": record.seconds,
        "label_seconds": record.label_seconds,
    }
    write_json(folder / RECORD, content)
    (folder / BEGUN).unlink(missing_ok=True)


def begun(folder: Path) -> tuple[Origin, Spent] | None:
    """Returns what the unfinished attempt in a folder is made from; None if there is none.

    And the time of all attempts so far; those that were killed outright left none.

    Raises:
        DataError: the file is damaged.
    """
    content = _read(folder / BEGUN)
    if content is None:
        return None
    times = {name: content.get(name, 0.0) for name in ("seconds", "label_seconds")}
    try:
        return Origin(settings=content["settings"], inputs=content["inputs"]), Spent(**times)
    except KeyError as error:
        raise _damaged(folder / BEGUN, error) from error


def begin(folder: Path, origin: Origin, spent: Spent | None = None) -> None:
    """Notes that a stage is begun, and the time so far; what was finished before is void."""
    make_folder(folder)
    content = {
        "settings": origin.settings,
        "inputs": dict(origin.inputs),
        **asdict(spent or Spent()),
    }
    write_json(folder / BEGUN, content)
    (folder / RECORD).unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Reads a JSON file of a finished stage.

    Raises:
        DataError: it is missing or damaged.
    """
    found = results.read_json(path, _AGAIN)
    if found is None:
        raise DataError(f"{path} is missing; remove {path.parent} to have its stage done again")
    return found


def _read(path: Path) -> dict[str, Any] | None:
    content: dict[str, Any] | None = results.read_json(path, _AGAIN)
    if content is not None and not isinstance(content, dict):
        raise _damaged(path, "it is no JSON object")
    return content


def _damaged(path: Path, error: object) -> DataError:
    return DataError(f"{path} is damaged ({error}); {_AGAIN}")


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
