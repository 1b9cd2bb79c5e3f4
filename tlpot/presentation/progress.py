"""Progress as a bar or as plain lines, and the log, ``logging.getLogger("tlpot")``.

In the log nothing is written unless somebody attaches a handler. At level INFO stands what is to be
read while a job runs, such as the pre-flight report of a training; at DEBUG what goes on inside.
What a user should act upon is a warning (`tlpot.errors.TLPotWarning`), not a line of the log.
"""

from __future__ import annotations

import io
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, Self, cast

from tqdm import tqdm

from tlpot.errors import PreflightWarning

Listener = Callable[[int, int | None, str], object]
"""Takes how much is done, of how much (None if that is not known), and what is at work."""
Progress = Listener | Literal[False] | None
"""Who is told of progress: a function, nobody (False), or who watches the terminal (None)."""


class ListenerError(BaseException):
    """Carries what a function that is told of progress has raised out of all the work under way.

    It is no `Exception`: what goes on after the failure of a part would take it for one.

    Args:
        error: what was raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


_TOLD: ContextVar[Progress] = ContextVar("progress", default=None)

_SHORTEST, _LONGEST = 30.0, 600.0
"""Seconds between two lines: the least, for the first and after a tenth of the work; the most."""
_SHARE = 0.1
_LINE = (
    "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
)

logger = logging.getLogger("tlpot")


def log_report(report: str, cautions: Iterable[str]) -> None:
    """Writes a report into the log; where nobody reads it there, its cautions become warnings.

    Args:
        report: at level INFO.
        cautions: what it warns of.

    Warns:
        PreflightWarning: see `cautions`.
    """
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", report)
        return
    for text in cautions:
        warnings.warn(text, PreflightWarning, stacklevel=4)


@contextmanager
def telling(progress: Progress) -> Iterator[None]:
    """Tells `progress` what the bars of this context would show.

    What it raises goes through the work that is under way, and so ends it. It is not called again.
    """
    token = _TOLD.set(progress)
    try:
        yield
    except ListenerError as carrier:
        raise carrier.error from carrier.error.__cause__
    finally:
        _TOLD.reset(token)


def progress_bar(iterable: Iterable[Any] | None = None, **options: Any) -> tqdm[Any]:
    """Returns a bar of tqdm, or, where its file is no terminal, one that writes plain lines.

    Within `telling` it writes nothing and calls a function.

    The arguments are those of `tqdm`; with ``disable=None`` nothing is written but to a terminal.
    """
    file = options.get("file") or sys.stderr
    disable, listener = options.get("disable", False), _TOLD.get()
    if listener is False:
        disable = options["disable"] = True
    elif listener is not None and disable is not True:
        return cast("tqdm[Any]", _Told(iterable, listener, options))
    if disable or disable is None or file.isatty():
        return tqdm(iterable, **options)
    return ProgressLines(iterable, **options)


class _Told:
    """What is used of a bar of tqdm, for a function that is told."""

    def __init__(
        self, iterable: Iterable[Any] | None, listener: Listener, options: dict[str, Any]
    ) -> None:
        self.iterable, self.listener = iterable, listener
        self.n = self.initial = options.get("initial", 0)
        length = len(iterable) if isinstance(iterable, Sized) else None
        self.total: int | None = options.get("total", length)
        self.desc, self.postfix = options.get("desc") or "", ""

    def __iter__(self) -> Iterator[Any]:
        for item in self.iterable or ():
            yield item
            self.update()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, n: int = 1) -> None:
        self.n += n
        if _TOLD.get() is False:  # it has raised, and what is being finished is not its affair
            return
        try:
            self.listener(self.n, self.total, ", ".join(filter(None, (self.desc, self.postfix))))
        except BaseException as error:
            _TOLD.set(False)
            if isinstance(error, Exception):
                raise ListenerError(error) from error
            raise

    def set_description(self, desc: str = "", refresh: bool = True) -> None:
        self.desc = desc

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        self.postfix = s

    def close(self) -> None:
        pass


class ProgressLines(tqdm):
    """A bar that writes a line after half a minute, and from there after each tenth of the work.

    Lines are half a minute apart at least and ten minutes at most. At the end comes one, so that a
    short job says just what it did.
    """

    def __init__(self, iterable: Iterable[Any] | None = None, **options: Any) -> None:
        if options.get("total") is not None or hasattr(iterable, "__len__"):
            options.setdefault("bar_format", _LINE)
        options.pop("dynamic_ncols", None)
        self._begun = self._latest = time.monotonic()
        self._written: float = options.get("initial", 0)
        super().__init__(iterable, mininterval=1.0, **options)

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
        """Says what is at work; the line has the colon behind it, which tqdm would add."""
        self.set_description_str(desc, refresh)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Writes a line if it is time for one."""
        now = time.monotonic()
        done = (self.n - self._written) / self.total if self.total else 1.0
        waited = now - self._latest
        due = done >= _SHARE or self._latest == self._begun
        if waited >= _LONGEST or (waited >= _SHORTEST and due):
            self._latest, self._written = now, self.n
            self._write()

    def close(self) -> None:
        """Writes the last line, unless the bar was to vanish or to appear only later."""
        if self.disable:
            return
        if self.leave and time.monotonic() - self._begun >= (self.delay or 0.0):
            self._write()
        self.fp = io.StringIO()  # what tqdm writes to clear its bar is not for a log
        super().close()

    def _write(self) -> None:
        print(str(self).rstrip(), file=self.fp, flush=True)


logger.addHandler(logging.NullHandler())


@contextmanager
def log_to_terminal(level: int) -> Iterator[None]:
    """Prints the log, what goes on inside to standard error, and leaves the logger as it was."""
    handler, before = _Terminal(), logger.level
    logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _Terminal(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stdout if record.levelno == logging.INFO else sys.stderr
        print(record.getMessage(), file=stream, flush=True)
