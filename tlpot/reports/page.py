"""The page: one HTML file without scripts, with its style and pictures in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tlpot._version import __version__
from tlpot.files import make_folder, write_text
from tlpot.presentation import STYLE, duration, number, paragraph
from tlpot.reports.chapters import assembly_chapter, curve_chapter, data_chapter, error_chapter
from tlpot.reports.error_budget import SCHEME, TOTAL
from tlpot.reports.error_budget_report import KCAL
from tlpot.reports.force_field_report import ForceFieldReport
from tlpot.reports.use_chapters import (
    cost_chapter,
    dynamics_chapter,
    provenance_chapter,
    ramachandran_chapter,
)

PAGE = "force_field.html"
NUMBERS = "force_field.json"

CHAPTERS: dict[str, tuple[str, Callable[[Any], str], str]] = {
    "data": ("Data used", data_chapter, "--data"),
    "stages": ("Errors on fragments", error_chapter, "--data"),
    "curve": ("Learning curve", curve_chapter, "--curve"),
    "budgets": ("Assembly error budget", assembly_chapter, "--structure and --reference"),
    "motions": ("Energy drift and stability", dynamics_chapter, "--structure"),
    "ramachandran": ("Ramachandran density", ramachandran_chapter, "--structure, of a peptide"),
    "cost": ("Cost", cost_chapter, "--cost"),
    "provenance": ("Provenance", provenance_chapter, "a model in a file"),
}
"""By field of `ForceFieldReport`: title, what writes it, and what `tlpot report` needs for it."""


def render_page(report: ForceFieldReport) -> str:
    """Returns the page; the same report gives the same text."""
    contents, chapters = [], []
    for index, (name, (title, write, option)) in enumerate(CHAPTERS.items(), start=1):
        content = getattr(report, name)
        contents.append(f'<li><a href="#{name}">{title}</a></li>')
        chapters.append(f'<section id="{name}">\n<h2>{index}. {title}</h2>\n')
        if content:
            chapters.append(write(content))
        else:
            reason = report.skipped.get(name)
            text = reason or f"Not asked for; tlpot report needs {option}."
            chapters.append(paragraph(text, "absent"))
        chapters.append("</section>\n")
    title = escape(report.title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{title}</h1>\n{paragraph(report.summary, 'lead')}</header>\n"
        f"{_key_figures(report)}<nav><ol>{''.join(contents)}</ol></nav>\n"
        f"{''.join(chapters)}<footer>{paragraph(_footer())}</footer>\n</body>\n</html>\n"
    )


def _footer() -> str:
    return f"Written by tlpot {__version__}. All numbers are in {NUMBERS} beside this page."


def _key_figures(report: ForceFieldReport) -> str:
    boxes: list[tuple[str, Sequence[str]]] = []
    measured = [s for s in report.stages if s.title in ("after transfer", "model")]
    last = measured[-1] if measured else None
    if last is not None:
        before = next((s for s in report.stages if s.title.startswith("before transfer")), None)
        was = "" if before is None else f"; {number(before.total.force_rmse)} before transfer"
        boxes.append(
            (
                f"{number(last.total.force_rmse)} meV/Å",
                (f"force RMSE on fragments at {last.label_level}{was}", last.part),
            )
        )
    for budget in report.budgets:
        part = TOTAL if TOTAL in budget.budget.parts else SCHEME
        e, f = budget.energies(part), budget.forces(part)
        boxes.append(
            (
                f"{number(f['rmse'])} meV/Å",
                (
                    f"force RMSE of {budget.structure}, {part}",
                    f"{number(f['rmse'] / KCAL)} kcal/mol/Å; energy MAE "
                    f"{number(e['mae_per_atom'])} meV/atom; QM is {budget.reference}",
                ),
            )
        )
    broken = {motion.structure for motion in report.motions if motion.broken}
    for motion in report.motions:
        if motion.settings.ensemble == "nve":
            boxes.append(
                (
                    f"{number(motion.drift, sign=True)} meV/atom/ps",
                    (
                        f"energy drift, {motion.structure}, {number(motion.picoseconds)} ps NVE",
                        "BROKEN in a run" if motion.structure in broken else "no bond broke",
                    ),
                )
            )
    if report.cost:
        labels = sum(row.count for row in report.cost if row.what == "label")
        total = duration(sum(row.total_seconds for row in report.cost))
        boxes.append((total, (f"of computing, {labels:,} labels",)))
    if not boxes:
        return ""
    cells = "".join(
        f"<div><b>{escape(head)}</b>{''.join(f'<span>{escape(x)}</span>' for x in lines)}</div>"
        for head, lines in boxes
    )
    return f'<div class="key">{cells}</div>\n'


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFiles:
    """Where a report was written.

    Attributes:
        page: one HTML file with its pictures in it.
        numbers: JSON.
    """

    page: Path
    numbers: Path


def write_report(out_folder: str | os.PathLike[str], report: ForceFieldReport) -> ReportFiles:
    """Writes ``force_field.html`` and ``force_field.json``.

    Args:
        out_folder: created if it is not there; reports in it are replaced.
        report: what to write.

    Raises:
        OutputError: a file could not be written; the old one is untouched.
    """
    make_folder(out_folder)
    files = ReportFiles(page=Path(out_folder) / PAGE, numbers=Path(out_folder) / NUMBERS)
    page = render_page(report)
    numbers = json.dumps(report.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(files.numbers, numbers + "\n")
    write_text(files.page, page)
    return files
