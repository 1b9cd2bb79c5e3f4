"""The table: columns and rows, as text for a terminal, HTML for a page, plain values for JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Integral
from typing import Any, Literal

from tlpot.presentation.result import render

_MANY = 9
"""Columns that still have room to be far apart in a page."""


_NUMBER = re.compile(r"[-+−~]?[\d.,]+(e[-+−]?\d+)?( ± [\d.,]+(e[-+−]?\d+)?)?( ?[^\w\s])?|[-–]")
"""A string that is a number all the same."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: heading, with the unit in parentheses.
        format: how a number is written: a format specification such as ``.3f``, or a function;
            None is that of the table. A string among the values stands as it is.
        align: to which side; None is left for words and right for numbers.
        width: least number of characters in text, `gap` included.
        gap: spaces before it in text, at least; none before the first column.
    """

    name: str = ""
    format: str | Callable[[Any], str] | None = None
    _: KW_ONLY
    align: Literal["left", "right"] | None = None
    width: int = 0
    gap: int = 2

    @property
    def title(self) -> str:
        """The name without the unit."""
        return self.name[: -len(self.unit) - 3] if self.unit else self.name

    @property
    def unit(self) -> str:
        """What the name has in parentheses at its end; empty without."""
        _, found, unit = self.name.rpartition(" (")
        return unit.removesuffix(")") if found and unit.endswith(")") else ""

    def cell(self, value: Any, missing: str) -> str:
        """Returns a value as it is written."""
        if isinstance(value, str):
            return value
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return missing
        return self.format(value) if callable(self.format) else format(value, self.format or "")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values under columns; whatever lays out a table does it with this.

    Attributes:
        columns: a string is the name of a column; names may be in one string with ``|`` between.
        rows: a value for each column.
        format: of numbers, where a column has none of its own.
        whole: of a column of whole numbers, likewise.
        groups: headings above the columns, each with the number of columns that it spans.
        total: whether the last row is a sum.
        missing: what stands for None and NaN.
        widths: least number of characters of the first column and of all others in text.
        indent: spaces before each line of text.
        heads: whether the text has a line of headings.
    """

    columns: str | Sequence[Column | str]
    rows: Sequence[Sequence[Any]]
    _: KW_ONLY
    format: str | Callable[[Any], str] = ""
    whole: str | Callable[[Any], str] = ""
    groups: Sequence[tuple[str, int]] = ()
    total: bool = False
    missing: str = "–"
    widths: tuple[int, int] = (0, 0)
    indent: int = 0
    heads: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.columns, str):
            names = [name.strip() for name in self.columns.split("|")]
            object.__setattr__(self, "columns", names)
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} values in {len(self.columns)} columns")

    @property
    def full_columns(self) -> list[Column]:
        """The columns with all that they leave to the table."""
        found = []
        for k, given in enumerate(self.columns):
            column = Column(given) if isinstance(given, str) else given
            values = [row[k] for row in self.rows if row[k] not in (None, "")]
            words = any(isinstance(v, str) and not _NUMBER.fullmatch(v) for v in values)
            whole = all(isinstance(value, str | Integral) for value in values)
            written = self.whole if whole else self.format
            found.append(
                replace(
                    column,
                    align=column.align or ("left" if words else "right"),
                    format=written if column.format is None else column.format,
                    width=column.width or self.widths[k > 0],
                )
            )
        return found

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
        body = [[column.name for column in columns]] if self.heads else []
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
        names = [o + column.name for o, column in zip(over, self.full_columns, strict=True)]
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


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns lines of text; the first row holds the headings, and names stand to the left."""
    head, *others = rows
    columns = [Column(name, align="right" if k else "left") for k, name in enumerate(head)]
    return [line.rstrip() for line in Table(columns, others).text().splitlines()]
