"""Whether trainings were long enough to be compared, and what to measure where there is no law.

An error that still falls when the training stops is an error of the number of updates as much as
of the number of labels, and says nothing about what the labels can do.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlpot.learning_curves.power_law import Law
from tlpot.learning_curves.record import Curve, Series
from tlpot.numbers import Floats
from tlpot.transfer import STRATEGY_NAMES, strategy

LAST = 0.2
"""Share of the updates, at the end, that is looked at."""
LARGEST_FALL = 0.05
"""Of the validation error in that share; a training whose error falls by more is too short."""

LEAST_SIZES = 3
"""Of a law."""
_WIDER = 4
"""Factor by which the sizes of an error that does not surely fall should reach further."""
_LEARNS = ("full", "lora")
"""Strategies that learn from any label, to be tried beside those that do not."""


def late_falls(history: Sequence[Mapping[str, Any]], level: str) -> dict[str, float]:
    """Returns by which share each validation error fell in the last fifth of the training.

    A straight line through the logarithms of the errors gives it, since single validations
    scatter. Negative where an error rose. A fifth of the updates, or of the sum of their
    learning rates, whichever shows the larger fall: a rate that goes to zero makes the last
    updates of any training look like its end.

    Where the history does not have `level` (a difference is learned), it is that of its first
    level.
    """
    course = validation_course(history, level)
    steps = np.array(course.pop("step", []), dtype=float)
    if len(steps) < 2 or steps[-1] <= 0:
        return {}
    axes = [steps / steps[-1]]
    if all("learning_rate" in entry for entry in history):
        rates = np.array([entry["learning_rate"] for entry in history], dtype=float)
        moved = np.append(0.0, np.cumsum(np.diff(steps) * (rates[1:] + rates[:-1]) / 2))
        if moved[-1] > 0:
            axes.append(moved / moved[-1])
    return {
        name: max(_late_fall(axis, np.array(row)) for axis in axes) for name, row in course.items()
    }


def validation_course(history: Sequence[Mapping[str, Any]], level: str) -> dict[str, list[float]]:
    """Returns the validation errors of the learned level by name, and ``step``, as columns."""
    if not history:
        return {}
    tables = [name for name, entry in history[0].items() if isinstance(entry, Mapping)]
    learned = level if level in tables else next(iter(tables), None)
    if learned is None:
        return {}
    names = [name for name in history[0][learned] if name.endswith(("_mae", "_rmse"))]
    course: dict[str, list[float]] = {"step": [entry["step"] for entry in history]}
    for name in names:
        course[name] = [float(f"{entry[learned][name]:.6g}") for entry in history]
    return course


def _late_fall(x: Floats, errors: Floats) -> float:
    """The fall of errors at x, the share of the training that is done, over the last share of x."""
    if not (errors > 0).all():  # an error of zero cannot fall
        return 0.0
    logs = np.log(errors)
    late = x > 1.0 - LAST
    # few validations may all lie before the last fifth, or in it
    points = np.append(1.0 - LAST, x[late])
    values = np.append(np.interp(1.0 - LAST, x, logs), logs[late])
    slope = np.polyfit(points, values, 1)[0]
    return float(1.0 - np.exp(LAST * slope))


@dataclass(frozen=True, kw_only=True, slots=True)
class Convergence:
    """How far the trainings of a series went, for one error.

    Attributes:
        label: of the series.
        falls: of the validation error in the last fifth of the updates, mean over the seeds by
            size; None where the record does not say.
        updates: fewest and most of any of its trainings; None if the record does not say.
    """

    label: str
    falls: Mapping[int, float | None]
    updates: tuple[int, int] | None = None

    @property
    def under_trained(self) -> tuple[int, ...]:
        """Sizes whose trainings were too short."""
        return tuple(
            n for n, fall in self.falls.items() if fall is not None and fall > LARGEST_FALL
        )

    @property
    def unknown(self) -> tuple[int, ...]:
        """Sizes of which the record does not say."""
        return tuple(n for n, fall in self.falls.items() if fall is None)

    @property
    def doubt(self) -> str:
        """Why its errors are not, or may not be, those of its labels; empty if nothing is wrong."""
        return "under-trained" if self.under_trained else "not known" if self.unknown else ""

    def text(self) -> str:
        """Returns a doubt in words; or nothing."""
        if short := self.under_trained:
            most = max(fall for n in short if (fall := self.falls[n]) is not None)
            updates = "the updates"
            if self.updates is not None:
                low, high = self.updates
                updates = f"{low}" + (f" to {high}" if high > low else "") + " updates"
            return (
                f"{self.label} is under-trained with {', '.join(map(str, short))} labels: its "
                f"validation error still fell by {100 * most:.0f} % in the last fifth of {updates}"
            )
        return _not_known([self.label]) if self.unknown else ""

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers."""
        return {
            "fall of the validation error in the last fifth": {
                str(n): fall for n, fall in self.falls.items()
            },
            "under-trained": list(self.under_trained),
            "not known": list(self.unknown),
        }


def convergence(series: Series, quantity: str) -> Convergence:
    """Returns how far the trainings of a series went, by size."""
    steps = trains(series.strategy)
    falls: dict[int, float | None] = {}
    points = [p for p in series.points if quantity in p.end]
    for size in sorted({p.size for p in points}):
        found = [p.late_fall.get(quantity) for p in points if p.size == size]
        known = [fall for fall in found if fall is not None]
        falls[size] = float(np.mean(known)) if len(known) == len(found) else None
        if not steps:  # a solution in closed form is at its end
            falls[size] = 0.0
    updates = [p.updates for p in points if p.updates is not None]
    return Convergence(
        label=series.label,
        falls=falls,
        updates=(min(updates), max(updates)) if updates and steps else None,
    )


def trains(settings: Mapping[str, Any]) -> bool:
    """Returns whether a strategy makes gradient steps; one that is not known may."""
    return settings["name"] not in STRATEGY_NAMES or strategy(settings).defaults is not None


def doubts(found: Iterable[Convergence], config: Mapping[str, Any]) -> list[str]:
    """Returns the doubts about some series in words, with what to do; each is said once."""
    found = list(found)
    lines = [c.text() for c in found if c.doubt == "under-trained"]
    if lines:
        lines[-1] += f"; {more_updates(config)}"
    unknown = [c.label for c in found if c.doubt == "not known"]
    return [*lines, _not_known(unknown)] if unknown else lines


def _not_known(labels: Sequence[str]) -> str:
    return (
        f"whether the trainings of {', '.join(labels)} were long enough is not known: the record "
        "(of an earlier tlpot, or without validation labels of this kind) does not say; measure "
        "anew, in another folder (-o)"
    )


def more_updates(config: Mapping[str, Any]) -> str:
    """Returns what to do about an under-trained curve with this configuration."""
    updates = config.get("updates")
    if updates:
        longer = f"--updates {2 * int(updates)} or more"
    else:
        epochs = (config.get("training") or {}).get("epochs")
        longer = "more updates (--updates, or training.epochs" + (
            f"={2 * int(epochs)} or more)" if epochs else ")"
        )
    return f"measure it with {longer}, in another folder (-o)"


def law_remedies(curve: Curve, quantity: str, folder: Path | None = None) -> list[str]:
    """Returns what would give a law to each series that has none; nothing if all have one.

    Without `folder` it is the one that the curve was written to.
    """
    fitted = {s.label for s in curve.series if isinstance(s.law(quantity), Law)}
    groups: dict[str, list[Series]] = {"kind": [], "sizes": [], "constant": [], "flat": []}
    for series in curve.series:
        if series.label in fitted:
            continue
        if series.lacks(quantity):
            groups["kind"].append(series)
        elif series.strategy["name"] == "shift":
            groups["constant"].append(series)
        elif len(series.measured(quantity)) < LEAST_SIZES:
            groups["sizes"].append(series)
        else:
            groups["flat"].append(series)
    place = folder or Path(str(curve.config.get("output", "CURVE")))
    lines = []
    if few := groups["sizes"]:
        sizes = more_sizes(_sizes(few[0]), LEAST_SIZES, curve.n_train)
        lines += [f"{_labels(few)}: {LEAST_SIZES} sizes or more", _command(place, sizes=sizes)]
    if flat := groups["flat"]:
        measured = sorted({n for s in flat for n in _sizes(s)})
        sizes = wider_sizes(measured, curve.n_train)
        seeds = max(5, 2 + max((p.seed + 1 for s in flat for p in s.points), default=1))
        lines += [
            f"{_labels(flat)}: sizes that reach further, and more seeds",
            _command(place, sizes=sizes, seeds=seeds),
        ]
    if (kind := groups["kind"]) and not fitted:
        name = quantity.rsplit("_", 1)[0].replace("_", " ")
        lines += [
            f"{_labels(kind)}: never, as its models give no {name}; another strategy does",
            _command(place, strategies=_others(curve)),
        ]
    if (constant := groups["constant"]) and not fitted:
        lines += [
            f"{_labels(constant)}: never, as only reference energies change; a strategy that learns"
            " does",
            _command(place, strategies=_others(curve)),
        ]
    if not fitted:
        lines += _other_quantities(curve, quantity)
    return lines


def more_sizes(measured: list[int], least: int, n_train: int | None) -> list[int]:
    """Returns `measured` and so many sizes more that there are `least`, as far as frames go.

    Larger ones by factors of two, then smaller ones.
    """
    sizes = sorted(set(measured)) or [10]
    while len(sizes) < least and (n_train is None or sizes[-1] < n_train):
        sizes.append(2 * sizes[-1] if n_train is None else min(2 * sizes[-1], n_train))
    while len(sizes) < least and sizes[0] > 1:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def wider_sizes(measured: list[int], n_train: int | None) -> list[int]:
    """Returns `measured` and sizes that reach further, to larger ones as far as frames go."""
    largest = _WIDER * measured[-1] if n_train is None else min(_WIDER * measured[-1], n_train)
    more = {largest} if largest < 1.5 * measured[-1] else {largest, 2 * measured[-1]}
    if largest < _WIDER * measured[-1]:  # there are no more frames: smaller sizes are left
        more.add(max(1, measured[0] // 2))
    return sorted({*measured, *(n for n in more if n_train is None or n <= n_train)})


def _sizes(series: Series) -> list[int]:
    return sorted({p.size for p in series.points})


def _labels(series: list[Series]) -> str:
    return ", ".join(s.label for s in series)


def _others(curve: Curve) -> list[str]:
    names = {s.strategy["name"] for s in curve.series if trains(s.strategy)}
    return [name for name in _LEARNS if name not in names] or list(_LEARNS)


def _other_quantities(curve: Curve, quantity: str) -> list[str]:
    """Errors of which some series has a law."""
    error = quantity.rsplit("_", 1)[1]
    found = [
        name
        for name in curve.quantities()
        if name != quantity
        and name.endswith(error)
        and any(isinstance(s.law(name), Law) for s in curve.series)
    ]
    return [f"another error has a law: --quantity {' or '.join(found)}"] if found else []


def _command(folder: Path, **options: Any) -> str:
    words = ["tlpot", "curve", str(folder / "config.yaml")]
    for name, value in options.items():
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return f"  {shlex.join(words)}"
