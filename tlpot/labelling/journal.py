"""An append-only record of labels that survives a crash: one line each, checked and fsynced.

A line is the CRC-32 of a JSON text, a space, and the text. A torn last line is what a kill
leaves behind, and is dropped; damage anywhere else is not, and is refused.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tlpot.errors import DataError, OutputError
from tlpot.files import sole_use, write_text, writing
from tlpot.labelling.task import Cost, LabelOutcome

_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRecord:
    """One label, or one failure.

    Attributes:
        engine: key of the engine, see `tlpot.labelling.task.engine_key`.
        geometry: key of the geometry.
        name: of the structure, for messages.
        outcome: what came of it.
    """

    engine: str
    geometry: str
    name: str
    outcome: LabelOutcome


class InUseError(DataError):
    """A journal that another process has."""


class Journal:
    """The journal of one output file; a context manager that holds it for this process alone.

    Args:
        path: created if it is not there.
        repair: whether damaged lines are dropped (the old file is kept beside it) instead of
            refused.
        read_only: whether it is only looked at, which another process does not hinder.

    Raises:
        DataError: damaged, or written by a newer tlpot.
        InUseError: in use by another process.
        OutputError: it cannot be written, or is not there to be read.
    """

    def __init__(self, path: Path, *, repair: bool = False, read_only: bool = False) -> None:
        self.path = path
        self.notes: list[str] = []
        self._lock = ExitStack()
        self._torn_at: int | None = None
        self._records: dict[tuple[str, str], LabelRecord] = {}
        self._definitions: dict[str, Mapping[str, Any]] = {}
        try:
            # without a buffer, which would keep what did not fit on the disk and write it later
            self._handle = io.FileIO(path, "rb" if read_only else "a+b")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        try:
            if not read_only:
                self._lock.enter_context(sole_use(path, "tlpot label", error=InUseError))
            self._read(repair)
        except BaseException:
            self._close()
            raise

    @property
    def definitions(self) -> Mapping[str, Mapping[str, Any]]:
        """Definition and level of every engine, by its key."""
        return self._definitions

    def get(self, engine: str, geometry: str) -> LabelRecord | None:
        """Returns the latest record of a geometry."""
        return self._records.get((engine, geometry))

    def define(self, engine: str, level: str, definition: Mapping[str, Any]) -> None:
        """Writes what an engine is, once.

        Raises:
            OutputError: the disk is full, say.
        """
        if engine not in self._definitions:
            content = {"level": level, "definition": dict(definition)}
            self._write({"format": _FORMAT, "engine": engine, **content})
            self._definitions[engine] = content

    def append(self, record: LabelRecord) -> None:
        """Writes a record, and returns when the disk has it.

        Raises:
            OutputError: the disk is full, say.
        """
        outcome = record.outcome
        content: dict[str, Any] = {
            "engine": record.engine,
            "geometry": record.geometry,
            "name": record.name,
            "energy": outcome.energy,
            "forces": None if outcome.forces is None else outcome.forces.tolist(),
            **({} if outcome.stress is None else {"stress": outcome.stress.tolist()}),
            "cost": None if outcome.cost is None else asdict(outcome.cost),
        }
        if outcome.error is not None:
            content |= {"error": outcome.error, "log": outcome.log}
        self._write(content)
        self._keep(record)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        with self._lock, suppress(OSError):  # the disk has had all lines since they were written
            self._handle.close()

    def _keep(self, record: LabelRecord) -> None:
        key = record.engine, record.geometry
        known = self._records.get(key)
        # a failure (to get forces, say) does not undo a label
        if known is None or known.outcome.error is not None or record.outcome.error is None:
            self._records[key] = record

    def _write(self, content: Mapping[str, Any]) -> None:
        try:
            self._cut_off()
            self._torn_at = self._handle.seek(0, os.SEEK_END)
            self._put(_line(content))
            self._torn_at = None
        except OSError as error:
            with suppress(OSError):  # then before the next line, or by who opens it next
                self._cut_off()
            raise OutputError(
                f"cannot write {self.path}: {error.strerror or error}; what it had before is "
                "safe, and the same command continues"
            ) from error

    def _cut_off(self) -> None:
        """Removes a line that was not written in full."""
        if self._torn_at is not None:
            self._handle.truncate(self._torn_at)
            self._torn_at = None

    def _put(self, content: bytes) -> None:
        """Writes at the end, and returns when the disk has it."""
        rest = memoryview(content)
        while rest:  # a disk that becomes full takes a part before it refuses
            rest = rest[self._handle.write(rest) :]
        os.fsync(self._handle.fileno())

    def _read(self, repair: bool) -> None:
        self._handle.seek(0)
        content = self._handle.read()
        lines = content.split(b"\n")
        torn = lines.pop()  # empty where the last line is whole
        damaged = []
        for number, line in enumerate(lines, start=1):
            found = _content(line)
            if found is None:
                damaged.append(number)
            else:
                self._take(found)
        if damaged and not repair:
            raise DataError(
                f"{self.path} is damaged in line {damaged[0]}"
                + (f" and {len(damaged) - 1} more" if len(damaged) > 1 else "")
                + f" of {len(lines)}: its checksum does not fit. The other lines are whole. Drop "
                "the damaged ones with repair=True (--repair-journal), which keeps the old file "
                "beside it and labels these geometries again; but look after the disk first"
            )
        if damaged:
            self._rewrite(content, [x for k, x in enumerate(lines, 1) if k not in damaged])
        elif torn and self._handle.writable():
            self._handle.truncate(len(content) - len(torn))
            self.notes.append(
                f"{self.path}: the last line was torn by an interruption and was dropped; its "
                "geometry is labelled again"
            )

    def _take(self, content: Mapping[str, Any]) -> None:
        if "definition" in content:
            if content.get("format") != _FORMAT:
                raise DataError(
                    f"{self.path} has format {content.get('format')!r}, and this tlpot knows "
                    f"{_FORMAT}; use the tlpot that wrote it"
                )
            self._definitions[content["engine"]] = {
                "level": content["level"],
                "definition": content["definition"],
            }
            return
        forces, stress, cost = content["forces"], content.get("stress"), content["cost"]
        outcome = LabelOutcome(
            energy=content["energy"],
            forces=None if forces is None else np.array(forces, dtype=np.float64),
            stress=None if stress is None else np.array(stress, dtype=np.float64),
            error=content.get("error"),
            log=content.get("log", ""),
            cost=None if cost is None else Cost(**cost),
        )
        self._keep(
            LabelRecord(
                engine=content["engine"],
                geometry=content["geometry"],
                name=content["name"],
                outcome=outcome,
            )
        )

    def _rewrite(self, old: bytes, lines: list[bytes]) -> None:
        """Keeps the damaged file beside and the whole lines in place; the lock stays."""
        aside = self.path.with_name(f"{self.path.name}.damaged")
        with writing(aside):
            aside.write_bytes(old)
        with writing(self.path):
            self._handle.truncate(0)
            self._put(b"".join(line + b"\n" for line in lines))
        self.notes.append(f"{self.path}: damaged lines were dropped; the file as it was is {aside}")


def _line(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _content(line: bytes) -> dict[str, Any] | None:
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    content: dict[str, Any] = json.loads(text)
    return content


def write_failures(target: Path, failures: Sequence[LabelRecord]) -> None:
    """Keeps the logs of the failures where they can be read, beside the output."""
    path = target.with_name(f"{target.name}.failures.txt")
    if not failures:
        path.unlink(missing_ok=True)
        return
    text = "\n".join(
        f"=== {record.name} ({record.geometry})\n{record.outcome.error}\n{record.outcome.log}"
        for record in failures
    )
    write_text(path, text + os.linesep)
