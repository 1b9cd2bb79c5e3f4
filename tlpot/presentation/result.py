"""What every job returns: text for a terminal, JSON for a file, HTML for a notebook or a page."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tlpot.errors import ConfigError
from tlpot.files import PathLike, write_text
from tlpot.numbers import duration, number, signed

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure


def render(template: str, /, room: str = "tlpot.presentation", **values: Any) -> str:
    """Returns a template filled in; the same values give the same text.

    A template may extend ``page.html``, which has the style and the frame of a page, and write
    numbers by the filters ``number``, ``signed`` and ``duration``. A `Table` or a `Picture`
    among the values becomes HTML; all other values are escaped.

    `template` is a file in the folder ``templates`` of the package `room`; `values` are what it
    names.
    """
    return _environment(room).get_template(template).render(values)


@cache
def _environment(room: str) -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=ChoiceLoader([PackageLoader(room), PackageLoader(__package__ or "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"number": number, "signed": signed, "duration": duration}
    return found


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure and what it shows.

    Attributes:
        figure: of matplotlib.
        caption: below it; empty for none.
    """

    figure: Figure
    caption: str = ""

    @property
    def png(self) -> str:
        """The picture as base64."""
        stored = io.BytesIO()
        # no time stamp and no version: the same figures give the same page
        self.figure.savefig(stored, format="png", dpi=140, metadata={"Software": None})
        return base64.b64encode(stored.getvalue()).decode("ascii")

    def __html__(self) -> str:
        """What a template puts into a page."""
        return render("picture.html", picture=self)


_LONGEST = 120
"""Characters of a result's name for itself."""


_WIDEST = 80
"""Characters of a line that a notebook has room for."""


class Result:
    """A result of a job; where there is a picture, it has a method ``plot(path=None)``, too.

    A dataclass among them is one with ``repr=False``: what it holds is long.
    """

    __slots__ = ()

    def text(self) -> str:
        """Returns what the command line prints."""
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        """Returns every number as plain values."""
        raise NotImplementedError

    def save(self, path: PathLike) -> None:
        """Writes a JSON file.

        Raises:
            OutputError: the file could not be written.
        """
        write_text(path, json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n")

    def headline(self) -> str:
        """Returns in a few words what the result is."""
        return next(filter(None, map(str.strip, self.text().splitlines())), "")

    def __str__(self) -> str:
        return self.text().rstrip("\n")

    def __repr__(self) -> str:
        words = self.headline()
        shown = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."
        return f"<{type(self).__name__} {shown}>"

    def _repr_html_(self) -> str:
        """What a notebook shows; of a job that has nothing to draw, the text."""
        plot = getattr(self, "plot", None)
        try:
            figure = None if plot is None else plot()
        except ConfigError:  # so says one that was to stop after its report
            figure = None
        picture = None if figure is None else Picture(figure)
        lines = [(line, _is_prose(line)) for line in str(self).split("\n")]
        return render("result.html", lines=lines, picture=picture)


def _is_prose(line: str) -> bool:
    """Whether a long line may be wrapped, which the columns of a table must not be."""
    return len(line) > _WIDEST and "  " not in line.strip()


def warnings_of(report: str) -> list[str]:
    """Returns the warnings of a report: what its lines that begin with "warning:" say."""
    lines = (line.strip() for line in report.splitlines())
    found = [line for line in lines if line.startswith("warning:")]
    return [line.removeprefix("warning:").strip() for line in found]
