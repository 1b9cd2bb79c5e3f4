"""The section of the page about errors on fragments."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from tlpot.pipeline.force_field_report.error_text import (
    ENERGIES,
    FORCES,
    heading,
    short_names,
    value_of,
)
from tlpot.pipeline.force_field_report.kind_errors import HOLISTIC, Stage
from tlpot.pipeline.force_field_report.markup import number, paragraph, picture, table
from tlpot.pipeline.force_field_report.pictures import parity_figure


def error_chapter(stages: tuple[Stage, ...]) -> str:
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


def _side_by_side(stages: Sequence[Stage]) -> list[list[Stage]]:
    """Stages in the order of the work; those of the same frames together."""
    found: dict[Any, list[Stage]] = {}
    for stage in stages:
        frames = tuple((row.kind, row.n_frames) for row in stage.rows)
        found.setdefault((stage.label_level, stage.part, frames), []).append(stage)
    return list(found.values())


def _table(stages: Sequence[Stage], letter: str, quantities: Sequence[tuple[str, str, str]]) -> str:
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
