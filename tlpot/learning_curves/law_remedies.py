"""What to measure where a learning curve has no law, as command lines."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from tlpot.errors import DataError
from tlpot.learning_curves.convergence import trains
from tlpot.learning_curves.power_law import Law, fit_law
from tlpot.learning_curves.record import Curve, Series

LEAST_SIZES = 3
"""Of a law."""
_WIDER = 4
"""Factor by which the sizes of an error that does not surely fall should reach further."""
_LEARNS = ("full", "lora")
"""Strategies that learn from any label, to be tried beside those that do not."""


def law_remedies(curve: Curve, quantity: str, folder: Path | None = None) -> list[str]:
    """Returns what would give a law to each series that has none; nothing if all have one.

    Args:
        curve: what was measured.
        quantity: which error.
        folder: of the curve; None for the one that it was written to.
    """
    laws = {s.label: _law(s, quantity) for s in curve.series}
    groups: dict[str, list[Series]] = {"kind": [], "sizes": [], "constant": [], "flat": []}
    for series in curve.series:
        law = laws[series.label]
        if law is not None and law.falls:
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
    there = any(law is not None and law.falls for law in laws.values())
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
    if (kind := groups["kind"]) and not there:
        name = quantity.rsplit("_", 1)[0].replace("_", " ")
        lines += [f"{_labels(kind)}: never, as its models give no {name}; another strategy does",
                  _command(place, strategies=_others(curve))]  # fmt: skip
    if (constant := groups["constant"]) and not there:
        lines += [
            f"{_labels(constant)}: never, as only reference energies change; a strategy that learns"
            " does",
            _command(place, strategies=_others(curve)),
        ]
    if not there:
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


def _law(series: Series, quantity: str) -> Law | None:
    if series.lacks(quantity):
        return None
    try:
        return fit_law(series.measured(quantity))
    except DataError:
        return None


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
        if name != quantity and name.endswith(error)
        and any((law := _law(s, name)) is not None and law.falls for s in curve.series)
    ]  # fmt: skip
    return [f"another error has a law: --quantity {' or '.join(found)}"] if found else []


def _command(folder: Path, **options: Any) -> str:
    words = ["tlpot", "curve", str(folder / "config.yaml")]
    for name, value in options.items():
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return f"  {shlex.join(words)}"
