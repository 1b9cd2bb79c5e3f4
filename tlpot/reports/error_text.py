"""Errors on fragments as plain text, and what its tables share with those of the page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tlpot.presentation import Column, Table, short
from tlpot.reports.kind_errors import HOLISTIC

ENERGIES = (
    ("RMSE", "meV/atom", "energy_rmse"),
    ("MAE", "meV/atom", "energy_mae"),
    ("RMSE", "kcal/mol", "energy_rmse_kcal"),
    ("MAE", "kcal/mol", "energy_mae_kcal"),
    ("relative", "meV/atom", "relative_rmse"),
)
FORCES = (
    ("RMSE", "meV/Å", "force_rmse"),
    ("MAE", "meV/Å", "force_mae"),
    ("RMSE", "kcal/mol/Å", "force_rmse_kcal"),
    ("MAE", "kcal/mol/Å", "force_mae_kcal"),
)
_HASH = re.compile(r"\.[0-9a-f]{10}$")


def error_text(stages: Sequence[Mapping[str, Any]]) -> str:
    """Returns the tables as text, one model after the other.

    Args:
        stages: as `StageErrors.as_json` gives them.
    """
    quantities = [*ENERGIES, *FORCES]
    groups = [
        ("", 1), ("frames", 2), ("E, meV/atom", 2), ("E, kcal/mol", 2), ("relative", 1),
        ("F, meV/Å", 2), ("F, kcal/mol/Å", 2),
    ]  # fmt: skip
    columns: list[Column | str] = [
        "",
        *(Column(name, gap=1, width=7) for name in ("train", "test")),
    ]
    columns += [Column("RMSE" if n == "relative" else n, gap=1) for n, _, _ in quantities]
    lines = []
    for stage in stages:
        rows = [*stage["by_kind"], stage[HOLISTIC]]
        names = short_names([row["kind"] for row in rows])
        cells = [
            (
                name, row["n_train"], row["n_frames"],
                *(value_of(stage, row, key) for _, _, key in quantities),
            )
            for name, row in zip(names, rows, strict=True)
        ]  # fmt: skip
        table = Table(
            columns, cells, format=short, whole=",", groups=groups, widths=(0, 9), indent=2
        )
        lines += [heading(stage), *table.lines(), ""]
    return "\n".join(lines) + (
        "E: total energies, in kcal/mol of whole fragments; relative: less the mean error of the "
        "kind, meV/atom; F: force components"
    )


def heading(stage: Mapping[str, Any]) -> str:
    """Returns what was compared, in words."""
    text = f"{stage['title']}: {stage['model']} at {stage['model_level']}"
    if stage["e0_shift"] is not None:
        text += f", E0 fitted to {stage['e0_shift']['frames']:,} labels"
    return f"{text}, against {stage['label_level']}, {stage['part']}"


def value_of(stage: Mapping[str, Any], row: Mapping[str, Any], key: str) -> float:
    """Returns a number of a row; NaN for total energies of levels with different zeros."""
    idle = key.startswith("energy_") and not stage["total_energies_comparable"]
    return math.nan if idle or row[key] is None else float(row[key])


def short_names(kinds: Sequence[str]) -> list[str]:
    """Returns names without the hash that a build gives them, where they still differ."""
    plain = [_HASH.sub("", kind) for kind in kinds]
    return [
        name if plain.count(name) == 1 else kind for name, kind in zip(plain, kinds, strict=True)
    ]
