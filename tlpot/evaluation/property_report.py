"""The report of a model of a property: errors, what needs no network, confusion, coverage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlpot._version import __version__
from tlpot.evaluation.error_tables import ErrorReport
from tlpot.evaluation.predictions import Predictions
from tlpot.evaluation.property_errors import (
    Baseline,
    baseline_table,
    baseline_words,
    property_figure,
)
from tlpot.files import PathLike, write_text
from tlpot.presentation import Picture, Result, Table, drawn, render
from tlpot.targets import Quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORST = 10
"""Structures that are listed."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class PropertyReport(Result):
    """What a model of a property is worth on some structures.

    Attributes:
        model: name of the model.
        level: the property, as the labels have it.
        part: which structures: train, validation, test or all.
        quantity: what the numbers are.
        predictions: beside the labels.
        errors: of them.
        baselines: what needs no network, and the parent; empty without a split.
        worst: name, label, prediction and standard deviation (NaN for none) of the structures with
            the largest errors.
    """

    model: str
    level: str
    part: str
    quantity: Quantity
    predictions: Predictions
    errors: ErrorReport
    baselines: tuple[Baseline, ...]
    worst: tuple[tuple[str, float, float, float], ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not beaten, in capitals; empty for nothing."""
        overall = self.errors.overall
        return tuple(baseline_words(self.baselines, overall, self.quantity, self.part))

    def text(self) -> str:
        """Returns everything as text."""
        blocks = [
            f"report: {self.model} at {self.level}; {self.part} structures",
            self.errors.text(),
        ]
        blocks.append(
            baseline_table(self.baselines, self.errors.overall, self.quantity, self.part).text()
            if self.baselines
            else f"what needs no network is not compared: {_NO_SPLIT}"
        )
        if self._unsure:
            blocks.append(self._unsure)
        blocks.append("largest errors\n" + "\n".join(self._worst_table().lines()))
        blocks.append("\n".join(f"warning: {text}" for text in self.warnings) or "no warnings")
        return "\n\n".join(blocks) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Returns all numbers, in the unit of the property."""
        names = ("name", "label", "prediction", "std")
        return {
            "model": self.model,
            "level": self.level,
            "part": self.part,
            **self.errors.as_json(),
            "baselines": {each.name: dict(each.errors) for each in self.baselines},
            "worst": [
                {k: None if v != v else v for k, v in zip(names, row, strict=True)}
                for row in self.worst
            ],
            "warnings": list(self.warnings),
        }

    def html(self, numbers: str = "report.json") -> str:
        """Returns a page that stands alone, beside a file of the `numbers`."""
        overall, quantity = self.errors.overall, self.quantity
        unit = quantity.unit or ("probability" if quantity.kind == "yes_no" else "")
        keys = {"MAE": "property_mae", "RMSE": "property_rmse", "R²": "property_r2"}
        if quantity.kind == "yes_no":
            keys |= {"accuracy": "accuracy", "cross entropy": "cross_entropy"}
        heads = [f"{k} ({unit})" if k in ("MAE", "RMSE") and unit else k for k in keys]
        row = [int(overall["n_frames"]), *(overall.get(key) for key in keys.values())]
        intervals = self.errors.intervals
        return render(
            "property.html",
            "tlpot.evaluation",
            title=f"{self.model}: {self.level}",
            lead=f"{quantity.words}; {self.part} structures.",
            version=__version__,
            numbers=numbers,
            warnings=self.warnings,
            errors=Table(["structures", *heads], [row], format=".4g"),
            baselines=baseline_table(self.baselines, overall, quantity, self.part)
            if self.baselines
            else None,
            no_baselines=_NO_SPLIT,
            confusion=self._confusion(),
            picture=Picture(self.plot()),
            intervals=None if intervals is None else intervals.table(),
            width="" if intervals is None else intervals.words(quantity),
            conformal=intervals is not None and intervals.calibrated,
            no_intervals=self._unsure,
            worst=self._worst_table(),
        )

    def plot(self, path: PathLike | None = None) -> Figure:
        """Returns the parity plot, or how often it was so by probability; writes it to `path`.

        Raises:
            OutputError: the file could not be written.
        """
        labels, found = self.predictions.energy.T
        title = f"{self.model}, {self.part} structures, {self.level}"
        return drawn(property_figure(labels, found, self.quantity, title), path)

    def save(self, path: PathLike) -> None:
        """Writes text, picture and page beside the JSON file `path`, and that one last.

        Raises:
            OutputError: a file could not be written.
        """
        target = Path(path)
        write_text(target.with_suffix(".txt"), self.text())
        self.plot(target.with_suffix(".png"))
        write_text(target.with_suffix(".html"), self.html(target.name))
        write_text(target, json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n")

    @property
    def _unsure(self) -> str:
        """Why there are no intervals; empty if there are."""
        if self.errors.intervals is not None:
            return ""
        if self.quantity.kind == "yes_no":
            return "a probability is how sure the model is: see the picture"
        return (
            "the model does not know how sure it is; an ensemble, frozen-gp, or tlpot calibrate do"
        )

    def _confusion(self) -> Table | None:
        o = self.errors.overall
        if "accuracy" not in o:
            return None
        rows = [
            ["is yes", int(o["true_yes"]), int(o["false_no"])],
            ["is no", int(o["false_yes"]), int(o["true_no"])],
        ]
        return Table(["", "said yes", "said no"], rows)

    def _worst_table(self) -> Table:
        unit = f" ({self.quantity.unit})" if self.quantity.unit else ""
        columns = ["structure", f"label{unit}", f"model{unit}", f"±{unit}"]
        sure = any(row[3] == row[3] for row in self.worst)
        rows = [row if sure else row[:3] for row in self.worst]
        return Table(columns if sure else columns[:3], rows, format=".4g", indent=2)


_NO_SPLIT = "give the split of the training (--split MODEL.run/split.json), to fit it to"


def largest_errors(
    predictions: Predictions, names: Mapping[int, str]
) -> tuple[tuple[str, float, float, float], ...]:
    """Returns what `PropertyReport.worst` holds.

    Args:
        predictions: beside labels.
        names: of structures, by index.
    """
    labels, found = predictions.energy.T
    std = np.full(len(labels), np.nan) if predictions.std is None else predictions.std
    error = np.where(np.isfinite(labels), np.abs(found - labels), -1.0)
    worst = np.argsort(-error, kind="stable")[:WORST]
    return tuple(
        (names[int(predictions.indices[k])], float(labels[k]), float(found[k]), float(std[k]))
        for k in worst
        if error[k] >= 0
    )
