"""Errors of a scalar property: tables, parity, and the trivial models that any other must beat."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from tlpot.errors import ConfigError
from tlpot.models import Calibration
from tlpot.numbers import Floats, counted, mae, rmse
from tlpot.presentation import Column, Table, make_figure
from tlpot.targets import Quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVEN = 0.5
"""The probability from which on a yes is predicted."""


def property_errors(labels: Floats, found: Floats, quantity: Quantity) -> dict[str, float]:
    """Returns errors of predictions, in the unit of the property.

    ``property_mae`` and ``property_rmse``; ``property_r2``, 1 − Σ(found − label)² / Σ(label −
    mean)², left out where all labels are the same. Of yes and no, where the errors are of
    probabilities, also ``accuracy``, ``cross_entropy`` and the confusion counts ``true_yes``,
    ``false_yes``, ``false_no`` and ``true_no``.

    Args:
        labels: [n]; NaN where there is none.
        found: [n].
        quantity: what the numbers are.
    """
    known = np.isfinite(labels)
    labels, found = labels[known], found[known]
    if not len(labels):
        return {}
    errors = {
        "property_mae": mae(found - labels),
        "property_rmse": rmse(found - labels),
    }
    spread = float(np.square(labels - labels.mean()).sum())
    if spread > 1e-24 * max(float(np.square(labels).sum()), 1e-300):
        errors["property_r2"] = 1.0 - float(np.square(found - labels).sum()) / spread
    if quantity.kind == "yes_no":
        yes, said = labels > EVEN, found > EVEN
        kept = np.clip(found, 1e-7, 1 - 1e-7)
        entropy = -np.where(yes, np.log(kept), np.log(1 - kept))
        errors |= {
            "accuracy": float((yes == said).mean()),
            "cross_entropy": float(entropy.mean()),
            "true_yes": float((yes & said).sum()),
            "false_yes": float((~yes & said).sum()),
            "false_no": float((yes & ~said).sum()),
            "true_no": float((~yes & ~said).sum()),
        }
    return errors


COVERAGES = (0.5, 0.683, 0.9, 0.95)
"""Of intervals that are looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalCoverage:
    """How many labels are within the intervals that a model gives.

    Attributes:
        expected: shares that should be, `COVERAGES`.
        found: shares that are; NaN where a calibration has too few frames for such an interval.
        mean_std: mean standard deviation that is reported, in the unit of the property.
        calibrated: whether the intervals are conformal ones; else they are those of normal
            distributions.
        n_frames: labels.
    """

    expected: tuple[float, ...]
    found: tuple[float, ...]
    mean_std: float
    calibrated: bool
    n_frames: int

    def table(self) -> Table:
        """Returns a row for each interval."""
        columns = [Column("intervals for", format=".1%"), Column("hold, of the labels")]
        return Table(
            columns, [*zip(self.expected, self.found, strict=True)], format=".1%", missing="-",
            indent=2,
        )  # fmt: skip

    def words(self, quantity: Quantity) -> str:
        """Says how wide the intervals are, and whether anybody has calibrated them."""
        how = "calibrated" if self.calibrated else "not calibrated"
        return f"mean σ {self.mean_std:.4g} {quantity.unit}".rstrip() + f", {how}"

    def as_json(self) -> dict[str, Any]:
        """Returns plain values; None for what there is not."""
        found = [None if math.isnan(share) else share for share in self.found]
        return {
            "expected": list(self.expected), "found": found, "mean_std": self.mean_std,
            "calibrated": self.calibrated, "n_frames": self.n_frames,
        }  # fmt: skip


def interval_coverage(
    labels: Floats, found: Floats, std: Floats, calibration: Calibration | None
) -> IntervalCoverage:
    """Compares errors with standard deviations.

    Args:
        labels: [n]; NaN where there is none, but not everywhere.
        found: predictions, [n].
        std: as they are reported, [n].
        calibration: of the standard deviations; None for none.
    """
    known = np.isfinite(labels)
    error, std = np.abs(found - labels)[known], std[known]
    shares = []
    for expected in COVERAGES:
        if calibration is None:
            width = NormalDist().inv_cdf(0.5 * (1.0 + expected))
        else:
            try:
                width = calibration.interval(expected) / calibration.factor
            except ConfigError:  # of too few frames
                width = math.nan
        shares.append(math.nan if math.isnan(width) else float((error <= width * std).mean()))
    return IntervalCoverage(
        expected=COVERAGES, found=tuple(shares), mean_std=float(std.mean()),
        calibrated=calibration is not None, n_frames=len(error),
    )  # fmt: skip


def property_lines(overall: Mapping[str, float], quantity: Quantity) -> list[str]:
    """Returns the table of `property_errors`."""
    unit = quantity.unit or ("probability" if quantity.kind == "yes_no" else "")
    head = Column(counted(int(overall["n_frames"]), "structure"), align="left", width=18)
    columns = [
        head,
        Column("MAE", gap=1),
        Column("RMSE", gap=1),
        Column("R²", gap=1),
        Column(gap=1),
    ]
    row = ["  value", overall.get("property_mae"), overall.get("property_rmse")]
    row += [overall.get("property_r2"), unit]
    lines = Table(columns, [row], format=".4g", missing="-", widths=(0, 10)).lines()
    if "accuracy" in overall:
        o = overall
        lines.append(
            f"  accuracy {100 * o['accuracy']:.1f} %, cross entropy {o['cross_entropy']:.4g}; "
            f"yes found {o['true_yes']:.0f} of {o['true_yes'] + o['false_no']:.0f}, "
            f"no found {o['true_no']:.0f} of {o['true_no'] + o['false_yes']:.0f}"
        )
    return lines


def property_figure(labels: Floats, found: Floats, quantity: Quantity, title: str) -> Figure:
    """Returns the parity plot of a property; for yes and no, how often it was so by probability."""
    known = np.isfinite(labels)
    labels, found = labels[known], found[known]
    figure, axes = make_figure(4.6, 4.6, 1, 1, title=title)
    axis = np.atleast_1d(axes).reshape(-1)[0]
    if quantity.kind == "yes_no":
        edges = np.linspace(0, 1, 11)
        bins = np.clip(np.digitize(found, edges) - 1, 0, 9)
        counts = np.bincount(bins, minlength=10)
        there = counts > 0
        middle = np.bincount(bins, found, 10)[there] / counts[there]
        share = np.bincount(bins, labels, 10)[there] / counts[there]
        axis.plot([0, 1], [0, 1], color="0.6", linewidth=1, zorder=0)
        axis.scatter(middle, share, s=10 + 200 * counts[there] / counts.sum())
        axis.set_xlabel("predicted probability")
        axis.set_ylabel("share that is so")
        return figure
    limits = [min(labels.min(), found.min()), max(labels.max(), found.max())]
    axis.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
    axis.scatter(labels, found, s=6, linewidths=0, alpha=0.5, rasterized=True)
    unit = f" ({quantity.unit})" if quantity.unit else ""
    axis.set_xlabel(f"reference{unit}")
    axis.set_ylabel(f"model{unit}")
    errors = property_errors(labels, found, quantity)
    text = (
        f"MAE {errors['property_mae']:.3g}\nRMSE {errors['property_rmse']:.3g} {quantity.unit}"
    ).rstrip()
    axis.text(0.04, 0.96, text, transform=axis.transAxes, va="top", fontsize=9)
    return figure


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """A model that needs no network.

    Attributes:
        name: ``mean``, ``composition only``, or ``line on gap@pbe``.
        errors: see `property_errors`, on the held-out structures.
        n_frames: of these, those that it says something about.
    """

    name: str
    errors: Mapping[str, float]
    n_frames: int


def line_baseline(
    x_train: Floats, y_train: Floats, x: Floats, y: Floats, quantity: Quantity, name: str
) -> Baseline | None:
    """Returns what a straight line on another value of the same structures gives.

    Args:
        x_train: the other values of the training structures, NaN where there are none.
        y_train: their labels.
        x: the other values of the held-out structures.
        y: their labels.
        quantity: of the labels.
        name: of the other value.
    """
    both = np.isfinite(x_train) & np.isfinite(y_train)
    held = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 3 or not held.any() or np.ptp(x_train[both]) == 0:
        return None
    slope, intercept = np.polyfit(x_train[both], y_train[both], 1)
    return Baseline(
        name=f"line on {name}",
        errors=property_errors(y[held], slope * x[held] + intercept, quantity),
        n_frames=int(held.sum()),
    )


def baseline_table(
    baselines: Sequence[Baseline], model: Mapping[str, float], quantity: Quantity, part: str
) -> Table:
    """Returns the table of trivial models beside the trained one."""
    score = score_key(quantity)
    rows: list[tuple[object, ...]] = [
        (each.name, each.n_frames, *(each.errors.get(k) for k in _SHOWN)) for each in baselines
    ]
    rows.append(("this model", int(model["n_frames"]), *(model.get(k) for k in _SHOWN)))
    heads = f"{part} structures | n | MAE | RMSE | R²"
    if score == "cross_entropy":
        keys = ("accuracy", "cross_entropy")
        rows = [
            (each.name, each.n_frames, *(each.errors.get(k) for k in keys)) for each in baselines
        ]
        rows.append(("this model", int(model["n_frames"]), *(model.get(k) for k in keys)))
        heads = f"{part} structures | n | accuracy | cross entropy"
    return Table(heads, rows, format=".4g", missing="-", widths=(20, 10))


_SHOWN = ("property_mae", "property_rmse", "property_r2")


def score_key(quantity: Quantity) -> str:
    """Returns the error that decides which of two models is better."""
    return "cross_entropy" if quantity.kind == "yes_no" else "property_mae"


def baseline_words(
    baselines: Sequence[Baseline], model: Mapping[str, float], quantity: Quantity | None, part: str
) -> list[str]:
    """Returns a sentence, in capitals, for each trivial model that is not beaten.

    `quantity` is None of energies, which have none.
    """
    if quantity is None:
        return []
    key = score_key(quantity)
    unit = f" {quantity.unit}" if quantity.unit and key == "property_mae" else ""
    return [
        f"NO BETTER THAN {each.name.upper()}: {key.removeprefix('property_').replace('_', ' ')} "
        f"{model[key]:.4g}{unit}, and {each.errors[key]:.4g}{unit} without any network, on the "
        f"{part} structures"
        for each in baselines
        if key in model
        and not math.isnan(model[key])
        and each.n_frames == int(model["n_frames"])
        and model[key] >= each.errors[key]
    ]
