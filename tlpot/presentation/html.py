"""Pieces of HTML: text, tables, pictures and trees."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from tlpot.presentation.numbers import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure


STYLE = """
:root { --ink: #1c2530; --soft: #5c6875; --line: #d8dee5; --accent: #1f5f99; --pale: #f4f7fa;
  --warn: #a03a1a; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2.2rem 1.6rem 4rem; color: var(--ink);
  background: white; font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .5rem; padding-top: .8rem;
  border-top: 2px solid var(--accent); }
h3 { font-size: 1.02rem; margin: 1.5rem 0 .3rem; }
p { margin: .5rem 0; max-width: 54rem; }
.lead { color: var(--soft); font-size: 1.05rem; }
.note, figcaption, footer { color: var(--soft); font-size: .88rem; }
.absent { color: var(--soft); background: var(--pale); padding: .6rem .9rem;
  border-left: 3px solid var(--line); }
.warning { color: var(--warn); background: #fcf3ef; padding: .6rem .9rem;
  border-left: 3px solid var(--warn); }
.key { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: .8rem;
  margin: 1.3rem 0; }
.key div { background: var(--pale); border: 1px solid var(--line); border-radius: 6px;
  padding: .7rem .9rem; }
.key b { display: block; font-size: 1.25rem; line-height: 1.3; }
.key span { color: var(--soft); font-size: .85rem; display: block; line-height: 1.35; }
nav ol { columns: 2; padding-left: 1.3rem; margin: .4rem 0; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; margin: .7rem 0;
  font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top; }
table.dense th, table.dense td { padding: .25rem .38rem; }
th { font-weight: 600; vertical-align: bottom; }
th small { display: block; font-weight: 400; color: var(--soft); white-space: nowrap; }
th.group { text-align: center; border-bottom: 1px solid var(--ink); }
th.words, td.words { text-align: left; }
td.words { overflow-wrap: break-word; }
td.words:first-child { white-space: nowrap; }
tr.sum td { font-weight: 600; border-top: 2px solid var(--ink); background: var(--pale); }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .82rem; }
code { overflow-wrap: anywhere; }
pre { background: var(--pale); padding: .7rem .9rem; white-space: pre-wrap;
  overflow-wrap: anywhere; border: 1px solid var(--line); columns: 20rem; }
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  h2, h3 { break-after: avoid; }
  figure, tr, .key div, pre { break-inside: avoid; }
  thead { display: table-header-group; }
  .wide { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding: .15rem .35rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
@page { margin: 16mm 14mm; }
"""
_MANY = 9
"""Columns that still have room to be far apart."""


def number(value: float, *, sign: bool = False) -> str:
    """Returns a number for a reader; a dash if it is not defined."""
    return short(value, sign=sign).replace("-", "−") if math.isfinite(value) else "–"


def duration(seconds: float) -> str:
    """Returns such as ``12.3 s``, ``4.1 min`` or ``2.5 h``; a dash if it is not defined."""
    if not math.isfinite(seconds):
        return "–"
    for most, factor, unit in ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (172800.0, 3600.0, "h")):
        if seconds < most:
            return f"{short(seconds / factor)} {unit}"
    return f"{short(seconds / 86400.0)} d"


def paragraph(text: str, kind: str = "") -> str:
    """Returns a paragraph; `text` is escaped."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{escape(text)}</p>\n"


def table(
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[str]],
    *,
    words: int = 1,
    last: bool = False,
    groups: Sequence[tuple[str, int]] = (),
    more_words: Sequence[int] = (),
) -> str:
    """Returns a table.

    Args:
        columns: heading and unit of each; the unit may be empty.
        rows: cells, escaped here.
        words: how many columns from the left hold words and not numbers.
        last: whether the last row is a sum.
        groups: headings above the columns, each with the number of columns it spans.
        more_words: other columns that hold words.
    """
    wordy = {*range(words), *more_words}
    dense = ' class="dense"' if len(columns) > _MANY else ""

    def kind(k: int) -> str:
        return ' class="words"' if k in wordy else ""

    above = ""
    if groups:
        cells = (
            f'<th class="group" colspan="{n}">{escape(name)}</th>' if name
            else f'<th colspan="{n}"></th>'
            for name, n in groups
        )  # fmt: skip
        above = f"<tr>{''.join(cells)}</tr>"
    head = "".join(
        f"<th{kind(k)}>{escape(name)}{f'<small>{escape(unit)}</small>' if unit else ''}</th>"
        for k, (name, unit) in enumerate(columns)
    )
    body = ""
    for r, row in enumerate(rows):
        style = ' class="sum"' if last and r == len(rows) - 1 else ""
        cells = (f"<td{kind(k)}>{escape(cell)}</td>" for k, cell in enumerate(row))
        body += f"<tr{style}>{''.join(cells)}</tr>\n"
    return (
        f'<div class="wide"><table{dense}><thead>{above}<tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>\n"
    )


def picture(figure: Figure, caption: str) -> str:
    """Returns a figure with its PNG inside."""
    stored = io.BytesIO()
    # no time stamp and no version: the same figures give the same page
    figure.savefig(stored, format="png", dpi=140, metadata={"Software": None})
    content = base64.b64encode(stored.getvalue()).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{content}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )


def inline(content: Mapping[str, Any]) -> str:
    """Returns nested mappings in one line, such as ``file a.h5; split (by molecule; seed 0)``."""
    parts = [
        f"{key} ({inline(value)})" if isinstance(value, Mapping) else f"{key} {value}"
        for key, value in content.items()
        if value not in (None, "", {})
    ]
    return "; ".join(parts).replace("_", " ")


def tree(content: Mapping[str, Any], indent: str = "") -> str:
    """Returns nested mappings as lines of ``key: value``; not escaped."""
    lines = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            if value:
                lines += [f"{indent}{key}", tree(value, indent + "  ").rstrip("\n")]
        elif value is not None and value != "":
            lines.append(f"{indent}{key}: {value}")
    return "\n".join(lines) + "\n"
