"""The page of a force field: one HTML file without scripts, with style and pictures in it.

Here is what the page shows, section by section; its words are in ``templates/force_field.html``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlpot._version import __version__
from tlpot.dynamics import Motion
from tlpot.files import PathLike, make_folder, write_text
from tlpot.learning_curves import Curve, analyse, curve_figure
from tlpot.numbers import duration, number, signed
from tlpot.presentation import Column, Picture, Table, render
from tlpot.reports import kind_errors
from tlpot.reports.error_budget import KCAL, MODEL, SCHEME, TOTAL
from tlpot.reports.error_budget_report import BudgetReport, budget_figure
from tlpot.reports.force_field_report import ForceFieldReport
from tlpot.reports.pictures import dynamics_figure, parity_figure, ramachandran_figure, run_name
from tlpot.reports.provenance import CostRow, DataRow, ModelRecord, Provenance
from tlpot.reports.ramachandran import CELL, Ramachandran

PAGE = "force_field.html"
NUMBERS = "force_field.json"
_CURVES = (
    "property_mae",
    "energy_per_atom_mae",
    "forces_mae",
    "energy_per_atom_rmse",
    "forces_rmse",
)
_KINDS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFiles:
    """Where a report was written.

    Attributes:
        page: one HTML file with its pictures in it.
        numbers: JSON.
    """

    page: Path
    numbers: Path


def write_report(out_folder: PathLike, report: ForceFieldReport) -> ReportFiles:
    """Writes ``force_field.html`` and ``force_field.json``.

    The folder is created if it is not there, and reports in it are replaced.

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


def render_page(report: ForceFieldReport) -> str:
    """Returns the page; the same report gives the same text."""
    chapters = []
    for name, (title, contents_of, option) in CHAPTERS.items():
        found = getattr(report, name)
        absent = report.skipped.get(name) or f"Not asked for; tlpot report needs {option}."
        chapters.append((name, title, contents_of(found) if found else absent))
    return render(
        "force_field.html", room="tlpot.reports", title=report.title, lead=report.summary,
        chapters=chapters, key_figures=_key_figures(report), model_part=MODEL, numbers=NUMBERS,
        version=__version__, warnings=report.warnings,
    )  # fmt: skip


def _key_figures(report: ForceFieldReport) -> list[tuple[str, Sequence[str]]]:
    boxes: list[tuple[str, Sequence[str]]] = []
    measured = [s for s in report.stages if s.title in ("after transfer", "model")]
    last = measured[-1] if measured else None
    if last is not None:
        before = next((s for s in report.stages if s.title.startswith("before transfer")), None)
        was = "" if before is None else f"; {number(before.total.force_rmse)} before transfer"
        what = f"force RMSE on fragments at {last.label_level}{was}"
        boxes.append((f"{number(last.total.force_rmse)} meV/Å", (what, last.part)))
    for budget in report.budgets:
        part = TOTAL if TOTAL in budget.budget.parts else SCHEME
        e, f = budget.energies(part), budget.forces(part)
        lines = (
            f"force RMSE of {budget.structure}, {part}",
            f"{number(f['rmse'] / KCAL)} kcal/mol/Å; energy MAE "
            f"{number(e['mae_per_atom'])} meV/atom; QM is {budget.reference}",
        )
        boxes.append((f"{number(f['rmse'])} meV/Å", lines))
    broken = {motion.structure for motion in report.motions if motion.broken}
    for motion in report.motions:
        if motion.settings.ensemble == "nve":
            lines = (
                f"energy drift, {motion.structure}, {number(motion.picoseconds)} ps NVE",
                "BROKEN in a run" if motion.structure in broken else "no bond broke",
            )
            boxes.append((f"{signed(motion.drift)} meV/atom/ps", lines))
    if report.cost:
        labels = sum(row.count for row in report.cost if row.what == "label")
        total = duration(sum(row.total_seconds for row in report.cost))
        boxes.append((total, (f"of computing, {labels:,} labels",)))
    return boxes


def _data(rows: tuple[DataRow, ...]) -> list[tuple[str, Table]]:
    """Labels by kind of fragment and level."""
    columns = (
        "fragment | atoms (with caps) | energies | forces (frames) | energy range (eV) | "
        "force RMS (eV/Å) | source"
    )
    tables = []
    for level in dict.fromkeys(row.level for row in rows):
        own = [row for row in rows if row.level == level]
        cells: list[tuple[Any, ...]] = [
            (row.kind, row.n_atoms, row.n_energies, row.n_forces, row.energy_range, row.force_rms,
             row.source)
            for row in own
        ]  # fmt: skip
        energies, forces = (sum(getattr(r, n) for r in own) for n in ("n_energies", "n_forces"))
        cells.append((f"{len(own)} kinds", "", energies, forces, "", "", ""))
        tables.append((level, Table(columns, cells, format=number, whole=",", total=True)))
    return tables


def _curve(curve: Curve) -> dict[str, Any]:
    """Errors against the number of labels."""
    found = curve.quantities()
    quantities = ([name for name in _CURVES if name in found] or list(found))[:2]
    sizes = sorted({point.size for series in curve.series for point in series.points})
    tables = []
    for name in quantities:
        rows = []
        for series in curve.series:
            means = {m.sizes[0]: sum(m.errors) / len(m.errors) for m in series.measured(name)}
            rows.append([series.label, *(means.get(n) for n in sizes)])
        kind, error = name.rsplit("_", 1)
        title = f"{kind.replace('_', ' ')} {error.upper()} ({curve.unit_of(name)})"
        columns = ["strategy", *(f"{n:,} (labels)" for n in sizes)]
        tables.append((title, Table(columns, rows, format=number)))
    reports = {name: analyse(curve, name) for name in quantities}
    picture = None
    if reports:
        picture = Picture(curve_figure(reports), "Error against the number of labels.")
    return {"curve": curve, "tables": tables, "picture": picture}


def _budgets(budgets: tuple[BudgetReport, ...]) -> list[dict[str, Any]]:
    """The three parts of the error of an assembled structure."""
    return [_budget(budget) for budget in budgets]


def _budget(report: BudgetReport) -> dict[str, Any]:
    rows = []
    for name in (n for n in (MODEL, SCHEME, TOTAL) if n in report.budget.parts):
        e, f = report.energies(name), report.forces(name)
        rows.append(
            (name, e["mean"], e["mae"], e["mae_per_atom"], e["mae_per_atom"] / KCAL,
             e.get("relative_mae"), f["mae"], f["rmse"], f["rmse"] / KCAL, f["max"])
        )  # fmt: skip
    table = Table(
        [
            "difference", Column("mean (meV)", signed), "MAE (meV)", "MAE (meV/atom)",
            "MAE (kcal/mol/atom)", "relative MAE (meV)", "MAE (meV/Å)", "RMSE (meV/Å)",
            "RMSE (kcal/mol/Å)", "largest (meV/Å)",
        ],
        rows, format=number, groups=[("", 1), ("energy", 5), ("force components", 4)],
    )  # fmt: skip
    found = report.budget.fragments
    kinds = {} if found is None else found.by_kind()
    columns: list[Column | str] = [
        "fragment", "number", "atoms", Column("mean E error (meV)", signed), "scatter (meV)",
        "F MAE (meV/Å)", "F RMSE (meV/Å)", "largest (meV/Å)",
    ]  # fmt: skip
    shown = [(name, *row.values()) for name, row in list(kinds.items())[:_KINDS]]
    caption = (
        f"Error budget of {report.structure}; forces by residue and by class of atom, their "
        "distribution, and energies."
    )
    return {
        "report": report,
        "table": table,
        "fragments": Table(columns, shown, format=number) if kinds else None,
        "n_kinds": len(kinds),
        "picture": Picture(budget_figure(report), caption),
    }


def _stages(stages: tuple[kind_errors.StageErrors, ...]) -> dict[str, Any]:
    """Errors on fragments by kind; models on the same frames side by side."""
    together: dict[Any, list[kind_errors.StageErrors]] = {}
    for stage in stages:
        frames = tuple((row.kind, row.n_frames) for row in stage.rows)
        together.setdefault((stage.label_level, stage.part, frames), []).append(stage)
    groups = [
        (
            f"Labels at {own[0].label_level}: {own[0].part}",
            [kind_errors.heading(stage.as_json()) for stage in own],
            [
                _error_table(own, "E", kind_errors.ENERGIES),
                _error_table(own, "F", kind_errors.FORCES),
            ],
        )
        for own in together.values()
    ]
    caption = (
        "Model against label: energies per atom, each less its mean for the kind, and force "
        "components. The line is perfect agreement; where there are many points the colour counts "
        "them."
    )
    return {"groups": groups, "picture": Picture(parity_figure(stages), caption)}


def _error_table(
    stages: Sequence[kind_errors.StageErrors],
    letter: str,
    quantities: Sequence[tuple[str, str, str]],
) -> Table:
    columns = ["fragment", "train (frames)", "test (frames)"]
    groups = [("", 3)]
    for stage in stages:
        columns += [f"{letter} {name} ({unit})" for name, unit, _ in quantities]
        groups.append((f"{stage.title}: {stage.model_level}", len(quantities)))
    rows = []
    names = kind_errors.short_names([row.kind for row in (*stages[0].rows, stages[0].total)])
    plain = [stage.as_json() for stage in stages]
    per_stage = [(*stage["by_kind"], stage[kind_errors.HOLISTIC]) for stage in plain]
    for name, *errors in zip(names, *per_stage, strict=True):
        trained = [row["n_train"] for row in errors if row["n_train"] is not None]
        row = [name, trained[0] if trained else None, errors[0]["n_frames"]]
        for found, own in zip(plain, errors, strict=True):
            row += [kind_errors.value_of(found, own, key) for _, _, key in quantities]
        rows.append(row)
    return Table(columns, rows, format=number, whole=",", total=True, groups=groups)


def _motions(motions: tuple[Motion, ...]) -> dict[str, Any]:
    """Drift at constant energy, and whether the structures hold together."""
    rows = []
    for motion in motions:
        nve = motion.settings.ensemble == "nve"
        mean, spread = motion.kelvin
        rows.append(
            (
                motion.structure, motion.calculator, run_name(motion),
                "BROKEN" if motion.broken else "intact", motion.picoseconds,
                motion.settings.timestep, motion.settings.temperature,
                f"{number(mean)} ± {number(spread)}", motion.drift if nve else None,
                float(abs(motion.deviations).max()) if nve else None, motion.stretch,
                1e3 * motion.seconds_per_step,
            )
        )  # fmt: skip
    columns: list[Column | str] = [
        "structure", "forces", "run", "bonds", "length (ps)", "step (fs)", "asked (K)",
        "temperature (K)", Column("E drift (meV/atom/ps)", signed),
        "largest ΔE (meV/atom)", "longest bond (× first)", "wall time (ms/step)",
    ]  # fmt: skip
    pictures = []
    for name in dict.fromkeys(motion.structure for motion in motions):
        caption = (
            f"{name}: total energy less its first value, and temperature; the grey line is the "
            "temperature asked for."
        )
        own = [motion for motion in motions if motion.structure == name]
        pictures.append(Picture(dynamics_figure(own), caption))
    return {
        "protocols": list(dict.fromkeys(motion.protocol for motion in motions)),
        "table": Table(columns, rows, format=number),
        "broken": [
            f"{motion.structure}, {run_name(motion)} with {motion.calculator}: {motion.broken}"
            for motion in motions
            if motion.broken
        ],
        "pictures": pictures,
    }


def _ramachandran(found: tuple[Ramachandran, ...]) -> dict[str, Any]:
    """Densities of φ and ψ."""
    rows, pictures = [], []
    for each in found:
        own, reference = each.force_field, each.reference
        rows.append(
            (
                each.structure, ", ".join(each.residues), own.calculator,
                "none" if reference is None else reference.calculator, len(own.angles),
                None if reference is None else len(reference.angles), each.agreement, own.halves,
                None if reference is None else reference.halves,
            )
        )  # fmt: skip
        caption = (
            f"{each.structure}: samples in cells of 15° (logarithmic colours, all residues "
            "together), and the densities of each angle. Crosses are the start."
        )
        pictures.append((each, Picture(ramachandran_figure(each), caption)))
    columns = (
        "structure | residues | force field | reference | samples (force field) | "
        "samples (reference) | overlap (with reference) | overlap of halves (force field) | "
        "overlap of halves (reference)"
    )
    table = Table(columns, rows, format=number)
    return {"cell": f"{CELL:g}", "table": table, "pictures": pictures}


def _cost(rows: tuple[CostRow, ...]) -> Table:
    """What was computed, and how long that took."""
    cells: list[tuple[Any, ...]] = [
        (row.what, row.level or "–", row.count, row.seconds, row.total_seconds,
         row.total_cpu_seconds)
        for row in rows
    ]  # fmt: skip
    cells.append(("total", "", "", "", sum(row.total_seconds for row in rows), ""))
    columns = "work | level | number | median (of one) | total (clock) | total (processor)"
    return Table(columns, cells, format=duration, whole=",", total=True)


def _provenance(found: Provenance) -> dict[str, Any]:
    """Models with their ancestors, data with the definitions of their levels, versions."""
    levels = [
        (data.source, level, definition or "not stated in the file")
        for data in found.data
        for level, definition in data.levels.items()
    ]
    return {
        "found": found,
        "models": [(m.card.name, _model(m), _tree(m.card.recipe)) for m in found.models],
        "data": Table(
            "file | frames | SHA-256 of the content",
            [(d.source, d.n_frames, d.sha256) for d in found.data],
            whole=",",
        ),
        "levels": Table("file | level | definition", levels),
        "settings": _tree(found.settings),
        "versions": Table("program | version", list(found.versions.items())),
    }


def _model(model: ModelRecord) -> Table:
    card = model.card
    rows = [
        ("role", model.role),
        ("file or name", model.source),
        ("SHA-256", model.sha256 or "not a file"),
        ("kind", model.kind),
        ("levels", ", ".join(model.levels)),
        ("description", card.description),
        ("licence", card.licence),
        ("licence of the parent", card.parent_licence),
        ("origin", _inline(card.origin)),
        ("parent", card.parent or "none"),
        ("trained on", _inline(card.dataset)),
        *((f"E0 {level}", origin) for level, origin in card.references.items()),
        ("made with", ", ".join(f"{k} {v}" for k, v in card.versions.items())),
        ("cite", card.citation),
    ]
    return Table([card.name, ""], [row for row in rows if row[1]])


def _inline(content: Mapping[str, Any]) -> str:
    """Returns nested mappings in one line, such as ``file a.h5; split (by molecule; seed 0)``."""
    parts = [
        f"{key} ({_inline(value)})" if isinstance(value, Mapping) else f"{key} {value}"
        for key, value in content.items()
        if value not in (None, "", {})
    ]
    return "; ".join(parts).replace("_", " ")


def _tree(content: Mapping[str, Any], indent: str = "") -> str:
    """Returns nested mappings as lines of ``key: value``."""
    lines = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            if value:
                lines += [f"{indent}{key}", _tree(value, indent + "  ")]
        elif value is not None and value != "":
            lines.append(f"{indent}{key}: {value}")
    return "\n".join(lines)


CHAPTERS: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "data": ("Data used", _data, "--data"),
    "stages": ("Errors on fragments", _stages, "--data"),
    "curve": ("Learning curve", _curve, "--curve"),
    "budgets": ("Assembly error budget", _budgets, "--structure and --reference"),
    "motions": ("Energy drift and stability", _motions, "--structure"),
    "ramachandran": ("Ramachandran density", _ramachandran, "--structure, of a peptide"),
    "cost": ("Cost", _cost, "--cost"),
    "provenance": ("Provenance", _provenance, "a model in a file"),
}
"""By field of `ForceFieldReport`: title, what it shows, and what `tlpot report` needs for it."""
