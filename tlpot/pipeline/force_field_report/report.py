"""All that is known of a force field, section by section."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlpot.atomic_file import make_folder, write_text
from tlpot.config import to_mapping
from tlpot.pipeline.assembly import BudgetReport
from tlpot.pipeline.curve_record import Curve
from tlpot.pipeline.force_field_report.cost import CostRow
from tlpot.pipeline.force_field_report.data_used import DataRow
from tlpot.pipeline.force_field_report.kind_errors import Stage
from tlpot.pipeline.force_field_report.motion import Motion
from tlpot.pipeline.force_field_report.provenance import Provenance
from tlpot.pipeline.force_field_report.ramachandran import Ramachandran

PAGE = "force_field.html"
NUMBERS = "force_field.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ForceFieldReport:
    """The sections; an empty one was not asked for, and the page says so.

    Attributes:
        title: of the page.
        summary: a sentence on what is reported on.
        data: see `data_used`.
        stages: errors on fragments, see `measure_stage`; in the order of the work.
        curve: learning curve.
        budgets: of the assembly, one for each test structure.
        motions: NVE and Langevin runs of the test structures.
        ramachandran: of the test structures that have φ and ψ.
        cost: of labels, and of whatever else.
        provenance: of models and data.
        skipped: why a section that was asked for is empty, by its name here.
    """

    title: str
    summary: str = ""
    data: tuple[DataRow, ...] = ()
    stages: tuple[Stage, ...] = ()
    curve: Curve | None = None
    budgets: tuple[BudgetReport, ...] = ()
    motions: tuple[Motion, ...] = ()
    ramachandran: tuple[Ramachandran, ...] = ()
    cost: tuple[CostRow, ...] = ()
    provenance: Provenance | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Returns all numbers as plain dicts; null for what was not asked for or is not defined.

        Errors are in meV, meV/atom and meV/Å, times in seconds; other keys name their unit.
        """
        content = {
            "format": "tlpot-force-field-report",
            "format_version": FORMAT_VERSION,
            "title": self.title,
            "summary": self.summary,
            "data": [to_mapping(row) for row in self.data] or None,
            "errors": [stage.as_json() for stage in self.stages] or None,
            "learning_curve": None if self.curve is None else to_mapping(self.curve),
            "assembly": [budget.as_json() for budget in self.budgets] or None,
            "dynamics": [motion.as_json() for motion in self.motions] or None,
            "ramachandran": [each.as_json() for each in self.ramachandran] or None,
            "cost": [to_mapping(row) for row in self.cost] or None,
            "provenance": None if self.provenance is None else self.provenance.as_json(),
            "skipped": dict(self.skipped),
        }
        finite: dict[str, Any] = _finite(content)
        return finite


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
    from tlpot.pipeline.force_field_report.page import render_page  # matplotlib is slow

    make_folder(out_folder)
    files = ReportFiles(page=Path(out_folder) / PAGE, numbers=Path(out_folder) / NUMBERS)
    page = render_page(report)
    numbers = json.dumps(report.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(files.numbers, numbers + "\n")
    write_text(files.page, page)
    return files


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
