"""What every job returns: text for a terminal, JSON for a file, HTML for a notebook."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from html import escape
from typing import Any

from tlpot.files import write_text
from tlpot.presentation.html import picture


class Result:
    """A result of a job; where there is a picture, it has a method ``plot(path=None)``, too."""

    __slots__ = ()

    def text(self) -> str:
        """Returns what the command line prints."""
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        """Returns every number as plain values."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file.

        Raises:
            OutputError: the file could not be written.
        """
        write_text(path, json.dumps(self.as_json(), indent=2, ensure_ascii=False))

    def __str__(self) -> str:
        return self.text().rstrip("\n")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        plot = getattr(self, "plot", None)
        return f"<pre>{escape(str(self))}</pre>" + ("" if plot is None else picture(plot(), ""))


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns aligned rows, the first being the header: names to the left, numbers to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            text.rjust(width) if k else text.ljust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def warnings_of(report: str) -> list[str]:
    """Returns the warnings of a report: what its lines that begin with "warning:" say."""
    lines = (line.strip() for line in report.splitlines())
    found = [line for line in lines if line.startswith("warning:")]
    return [line.removeprefix("warning:").strip() for line in found]
