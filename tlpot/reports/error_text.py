"""Errors on fragments as plain text, and what its tables share with those of the page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tlpot.presentation import short
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
_WIDTH = 9
"""Characters of a number in the plain text."""


def error_text(stages: Sequence[Mapping[str, Any]]) -> str:
    """Returns the tables as text, one model after the other.

    Args:
        stages: as `StageErrors.as_json` gives them.
    """
    columns = [*ENERGIES, *FORCES]
    lines = []
    for stage in stages:
        rows = [*stage["by_kind"], stage[HOLISTIC]]
        names = short_names([row["kind"] for row in rows])
        width = max(map(len, names))
        lines += [heading(stage), *_head(width)]
        for name, row in zip(names, rows, strict=True):
            train = "–" if row["n_train"] is None else f"{row['n_train']:,}"
            values = "".join(
                f"{_number(value_of(stage, row, key)):>{_WIDTH}}" for _, _, key in columns
            )
            lines.append(f"  {name:{width}}{train:>7}{row['n_frames']:>7,}{values}")
        lines.append("")
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


def _head(width: int) -> tuple[str, str]:
    """Two lines above the numbers: what and in which unit, and which mean."""
    above, below = f"  {'':{width}}{'frames':>14}", f"  {'':{width}}{'train':>7}{'test':>7}"
    for what, quantities in (("E", ENERGIES[:4]), ("F", FORCES)):
        for unit in dict.fromkeys(unit for _, unit, _ in quantities):
            above += f"{f'{what}, {unit}':>{2 * _WIDTH}}"
        below += "".join(f"{name:>{_WIDTH}}" for name, _, _ in quantities)
        if what == "E":
            above, below = f"{above}{'relative':>{_WIDTH}}", f"{below}{'RMSE':>{_WIDTH}}"
    return above, below


def short_names(kinds: Sequence[str]) -> list[str]:
    """Returns names without the hash that a build gives them, where they still differ."""
    plain = [_HASH.sub("", kind) for kind in kinds]
    return [
        name if plain.count(name) == 1 else kind for name, kind in zip(plain, kinds, strict=True)
    ]


def _number(value: float) -> str:
    return short(value) if math.isfinite(value) else "–"
