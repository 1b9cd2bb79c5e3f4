"""Progress on a terminal as a bar, and in a log file as a plain line now and then."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_SHORTEST, _LONGEST = 30.0, 600.0
"""Seconds between two lines: the least, after a tenth of the work; and the most."""
_SHARE = 0.1
_LINE = (
    "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
)


def progress_bar(iterable: Iterable[Any] | None = None, **options: Any) -> tqdm[Any]:
    """Returns a bar of tqdm, or, where its file is no terminal, one that writes plain lines.

    Args:
        iterable: see `tqdm`.
        options: see `tqdm`; with ``disable=None`` nothing is written but to a terminal.
    """
    file = options.get("file") or sys.stderr
    disable = options.get("disable", False)
    if disable or disable is None or file.isatty():
        return tqdm(iterable, **options)
    return ProgressLines(iterable, **options)


class ProgressLines(tqdm):
    """A bar that writes a line after a tenth of the work, but at most every half minute.

    At the end comes one line, so that a short job says just what it did.
    """

    def __init__(self, iterable: Iterable[Any] | None = None, **options: Any) -> None:
        if options.get("total") is not None or hasattr(iterable, "__len__"):
            options.setdefault("bar_format", _LINE)
        options.pop("dynamic_ncols", None)
        self._begun = self._latest = time.monotonic()
        self._written: float = options.get("initial", 0)
        super().__init__(iterable, mininterval=1.0, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Writes a line if it is time for one."""
        now = time.monotonic()
        done = (self.n - self._written) / self.total if self.total else 1.0
        waited = now - self._latest
        if waited >= _LONGEST or (waited >= _SHORTEST and done >= _SHARE):
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
