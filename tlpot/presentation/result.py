"""What every job returns: text for a terminal, JSON for a file, HTML for a notebook."""

from __future__ import annotations

import json
import os
from typing import Any

from tlpot.files import write_text
from tlpot.presentation.page import Picture, render


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
        write_text(path, json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n")

    def __str__(self) -> str:
        return self.text().rstrip("\n")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        plot = getattr(self, "plot", None)
        figure = None if plot is None else plot()
        picture = None if figure is None else Picture(figure)
        return render("result.html", text=str(self), picture=picture)


def warnings_of(report: str) -> list[str]:
    """Returns the warnings of a report: what its lines that begin with "warning:" say."""
    lines = (line.strip() for line in report.splitlines())
    found = [line for line in lines if line.startswith("warning:")]
    return [line.removeprefix("warning:").strip() for line in found]
