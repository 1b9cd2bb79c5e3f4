"""The sections of the page about the model: data, errors, learning curve, assembly."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from tlpot.learning_curves import Curve, analyse, curve_figure, unit_of
from tlpot.presentation import number, paragraph, picture, table
from tlpot.reports.data_used import DataRow
from tlpot.reports.error_budget import MODEL, SCHEME, TOTAL
from tlpot.reports.error_budget_picture import budget_figure
from tlpot.reports.error_budget_report import KCAL, BudgetReport
from tlpot.reports.error_text import ENERGIES, FORCES, heading, short_names, value_of
from tlpot.reports.kind_errors import HOLISTIC, StageErrors
from tlpot.reports.pictures import parity_figure

_CURVES = ("energy_per_atom_mae", "forces_mae", "energy_per_atom_rmse", "forces_rmse")
_KINDS = 15


def data_chapter(rows: tuple[DataRow, ...]) -> str:
    """Labels by kind of fragment and level."""
    levels = list(dict.fromkeys(row.level for row in rows))
    text = paragraph(
        "Labelled fragments by kind and level of theory. The energy range is the highest less the "
        "lowest energy within a kind; the number of frames from each source is in parentheses."
    )
    for level in levels:
        own = [row for row in rows if row.level == level]
        cells = [
            (
                row.kind, str(row.n_atoms), f"{row.n_energies:,}", f"{row.n_forces:,}",
                number(row.energy_range), number(row.force_rms), row.source,
            )
            for row in own
        ]  # fmt: skip
        energies, forces = (sum(getattr(r, n) for r in own) for n in ("n_energies", "n_forces"))
        cells.append(
            (f"{len(own)} kinds", "", f"{energies:,}", f"{forces:,}", "", "", "")
        )  # fmt: skip
        text += f"<h3>{escape(level)}</h3>\n" + table(
            [
                ("fragment", ""), ("atoms", "with caps"), ("energies", ""), ("forces", "frames"),
                ("energy range", "eV"), ("force RMS", "eV/Å"), ("source", ""),
            ],
            cells, last=True, more_words=(6,),
        )  # fmt: skip
    return text


def curve_chapter(curve: Curve) -> str:
    """Errors against the number of labels."""
    found = curve.quantities()
    quantities = ([name for name in _CURVES if name in found] or list(found))[:2]
    if not quantities:
        return paragraph("The curve has no points yet.", "absent")
    reports = {name: analyse(curve, name) for name in quantities}
    sizes = sorted({point.size for series in curve.series for point in series.points})
    text = paragraph(
        f"Errors on {curve.n_test:,} test frames after training with {curve.level} labels; "
        "the mean over repeats. Lines are fitted laws with their bands."
    )
    for name in quantities:
        rows = []
        for series in curve.series:
            means = {m.sizes[0]: sum(m.errors) / len(m.errors) for m in series.measured(name)}
            rows.append([series.label, *(number(means.get(n, float("nan"))) for n in sizes)])
        kind, error = name.rsplit("_", 1)
        text += f"<h3>{escape(kind.replace('_', ' '))} {error.upper()} ({unit_of(name)})</h3>\n"
        text += table([("strategy", ""), *((f"{n:,}", "labels") for n in sizes)], rows)
    return text + picture(curve_figure(reports), "Error against the number of labels.")


def assembly_chapter(budgets: tuple[BudgetReport, ...]) -> str:
    """The three parts of the error of an assembled structure."""
    text = paragraph(
        "What is wrong when a whole structure is put together from fragments, in three "
        "differences: the model against the reference on the same assembly of fragments, this "
        "assembly of reference fragments against the reference for the whole structure, and the "
        "model's assembly against the whole. The first two add up to the third, signs and all; "
        "their absolute values do not."
    )
    for budget in budgets:
        text += f"<h3>{escape(budget.structure)}</h3>\n" + _budget(budget)
    return text


def _budget(report: BudgetReport) -> str:
    budget = report.budget
    frames = "1 frame" if budget.n_frames == 1 else f"{budget.n_frames} frames"
    text = paragraph(
        f"{frames} of {budget.n_atoms} atoms in {budget.n_residues} residues; scheme "
        f"{report.scheme}, {budget.cost:.1f} atoms evaluated per atom; model "
        f"{report.model or 'none'}; “QM” is {report.reference}."
    )
    rows = []
    for name in (n for n in (MODEL, SCHEME, TOTAL) if n in budget.parts):
        e, f = report.energies(name), report.forces(name)
        rows.append(
            (
                name, number(e["mean"], sign=True), number(e["mae"]), number(e["mae_per_atom"]),
                number(e["mae_per_atom"] / KCAL), number(e.get("relative_mae", float("nan"))),
                number(f["mae"]), number(f["rmse"]), number(f["rmse"] / KCAL), number(f["max"]),
            )
        )  # fmt: skip
    text += table(
        [
            ("difference", ""), ("mean", "meV"), ("MAE", "meV"), ("MAE", "meV/atom"),
            ("MAE", "kcal/mol/atom"), ("relative MAE", "meV"), ("MAE", "meV/Å"),
            ("RMSE", "meV/Å"), ("RMSE", "kcal/mol/Å"), ("largest", "meV/Å"),
        ],
        rows, groups=[("", 1), ("energy", 5), ("force components", 4)],
    )  # fmt: skip
    if budget.n_frames == 1:
        text += paragraph("Relative errors need more than one frame.", "note")
    if budget.fragments is not None:
        kinds = budget.fragments.by_kind()
        shown = list(kinds.items())[:_KINDS]
        text += paragraph(
            f"{MODEL} on the {len(budget.fragments.names)} single fragments, caps included, the "
            "largest force error first"
            + (f" ({len(shown)} of {len(kinds)} kinds; all are in the JSON file)."
               if len(shown) < len(kinds) else "."),
        ) + table(
            [
                ("fragment", ""), ("number", ""), ("atoms", ""), ("mean E error", "meV"),
                ("scatter", "meV"), ("F MAE", "meV/Å"), ("F RMSE", "meV/Å"), ("largest", "meV/Å"),
            ],
            [
                (
                    name, str(row["n"]), str(row["atoms"]), number(row["energy_mean"], sign=True),
                    number(row["energy_std"]), number(row["force_mae"]),
                    number(row["force_rmse"]), number(row["force_max"]),
                )
                for name, row in shown
            ],
        )  # fmt: skip
    return text + picture(
        budget_figure(report), f"Error budget of {report.structure}; forces by residue and by "
        "class of atom, their distribution, and energies.",
    )  # fmt: skip


def error_chapter(stages: tuple[StageErrors, ...]) -> str:
    """Errors on fragments by kind, before and after side by side."""
    text = paragraph(
        "Model against label on single fragments, caps included. Energies in kcal/mol are of whole "
        "fragments. “Relative” is the RMSE of energies less the mean error of their kind, which is "
        "what conformers and barriers depend on. Levels have different zeros: total energies are "
        "compared where model and label are of one level, or the model’s reference energies E0 "
        "were shifted to that of the labels first, as fine-tuning does before its first step. "
        "“Holistic” is over all fragments and all force components together."
    )
    for own in _side_by_side(stages):
        text += f"<h3>Labels at {escape(own[0].label_level)}: {escape(own[0].part)}</h3>\n"
        for stage in own:
            text += paragraph(f"{heading(stage.as_json())}.", "note")
        text += _table(own, "E", ENERGIES) + _table(own, "F", FORCES)
    return text + picture(
        parity_figure(stages),
        "Model against label. Upper: energies per atom, each less its mean for the kind. Lower: "
        "force components. The line is perfect agreement; where there are many points the colour "
        "counts them.",
    )


def _side_by_side(stages: Sequence[StageErrors]) -> list[list[StageErrors]]:
    """Stages in the order of the work; those of the same frames together."""
    found: dict[Any, list[StageErrors]] = {}
    for stage in stages:
        frames = tuple((row.kind, row.n_frames) for row in stage.rows)
        found.setdefault((stage.label_level, stage.part, frames), []).append(stage)
    return list(found.values())


def _table(
    stages: Sequence[StageErrors], letter: str, quantities: Sequence[tuple[str, str, str]]
) -> str:
    plain = [stage.as_json() for stage in stages]
    columns, groups = [("fragment", ""), ("train", "frames"), ("test", "frames")], [("", 3)]
    for stage in stages:
        columns += [(f"{letter} {name}", unit) for name, unit, _ in quantities]
        groups.append((f"{stage.title}: {stage.model_level}", len(quantities)))
    rows = []
    names = short_names([row.kind for row in (*stages[0].rows, stages[0].total)])
    per_stage = [(*stage["by_kind"], stage[HOLISTIC]) for stage in plain]
    for name, *errors in zip(names, *per_stage, strict=True):
        trained = [row["n_train"] for row in errors if row["n_train"] is not None]
        row = [name, f"{trained[0]:,}" if trained else "–", f"{errors[0]['n_frames']:,}"]
        for found, own in zip(plain, errors, strict=True):
            row += [number(value_of(found, own, key)) for _, _, key in quantities]
        rows.append(row)
    return table(columns, rows, last=True, groups=groups)
