"""The table: columns and rows, as text for a terminal, HTML for a page, plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from tlpot.presentation.page import render

_MANY = 9
"""Columns that still have room to be far apart in a page."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: heading.
        unit: of its values; empty without one.
        align: to which side, ``left`` for words.
        format: how a value is written: a format specification such as ``.3f``, or a function.
            A string among the values stands as it is.
        width: least number of characters in text, `gap` included.
        gap: spaces before it in text, at least; none before the first column.
    """

    name: str = ""
    unit: str = ""
    _: KW_ONLY
    align: Literal["left", "right"] = "right"
    format: str | Callable[[Any], str] = ""
    width: int = 0
    gap: int = 2

    @property
    def heading(self) -> str:
        """Name and unit in one line."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def cell(self, value: Any, missing: str) -> str:
        """Returns a value as it is written."""
        if isinstance(value, str):
            return value
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return missing
        return self.format(value) if callable(self.format) else format(value, self.format)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values under columns; whatever lays out a table does it with this.

    Attributes:
        columns: a string is a column of that name, with words if it is the first and numbers
            otherwise.
        rows: a value for each column.
        groups: headings above the columns, each with the number of columns that it spans.
        total: whether the last row is a sum.
        missing: what stands for None and NaN.
        indent: spaces before each line of text.
        heads: whether the text has a line of headings.
    """

    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Any]]
    _: KW_ONLY
    groups: Sequence[tuple[str, int]] = ()
    total: bool = False
    missing: str = "–"
    indent: int = 0
    heads: bool = True

    @property
    def full_columns(self) -> list[Column]:
        """The columns, names replaced by what they stand for."""
        return [
            Column(each, align="right" if k else "left") if isinstance(each, str) else each
            for k, each in enumerate(self.columns)
        ]

    @property
    def cells(self) -> list[list[str]]:
        """The values as they are written, row by row."""
        columns = self.full_columns
        return [
            [column.cell(value, self.missing) for column, value in zip(columns, row, strict=True)]
            for row in self.rows
        ]

    @property
    def is_dense(self) -> bool:
        """Whether the columns have to move together in a page."""
        return len(self.columns) > _MANY

    def lines(self) -> list[str]:
        """Returns the lines of the text; columns never touch, whatever the values."""
        columns = self.full_columns
        body = [[column.heading for column in columns]] if self.heads else []
        body += self.cells
        gaps = [column.gap if k else 0 for k, column in enumerate(columns)]
        widths = [
            max(column.width, gap + max((len(row[k]) for row in body), default=0))
            for k, (column, gap) in enumerate(zip(columns, gaps, strict=True))
        ]
        above, begin = "", 0
        for name, n in self.groups:
            last = begin + n - 1
            widths[last] += max(0, len(name) + gaps[begin] - sum(widths[begin : begin + n]))
            above += f"{name:>{sum(widths[begin : begin + n])}}"
            begin += n
        found = [above] if self.groups else []
        for row in body:
            found.append(
                "".join(
                    " " * gap + cell.ljust(width - gap)
                    if column.align == "left"
                    else cell.rjust(width)
                    for column, cell, width, gap in zip(columns, row, widths, gaps, strict=True)
                )
            )
        return [(" " * self.indent + line).rstrip() for line in found]

    def text(self) -> str:
        """Returns the table as aligned text."""
        return "\n".join(self.lines())

    def html(self) -> str:
        """Returns the table as HTML; all that it holds is escaped."""
        return render("table.html", table=self)

    def as_json(self) -> list[dict[str, Any]]:
        """Returns a mapping from headings to plain values for each row; None for NaN."""
        over = [f"{name}: " if name else "" for name, n in self.groups for _ in range(n)]
        over = over or [""] * len(self.columns)
        names = [o + column.heading for o, column in zip(over, self.full_columns, strict=True)]
        return [
            {name: _plain(value) for name, value in zip(names, row, strict=True)}
            for row in self.rows
        ]

    def __str__(self) -> str:
        return self.text()

    def __html__(self) -> str:
        """What a template puts into a page."""
        return self.html()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self.html()


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
