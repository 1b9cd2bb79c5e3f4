"""What a learning curve says: laws, what the pretraining is worth, forecasts, and the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlpot.files import write_text
from tlpot.learning_curves.convergence import (
    LARGEST_FALL,
    Convergence,
    convergence,
    doubts,
    more_updates,
)
from tlpot.learning_curves.plan import LabelSavings, crossover, savings_of
from tlpot.learning_curves.power_law import CONFIDENCE, Law, Measured
from tlpot.learning_curves.record import Curve, Series, geometric, relative_spread
from tlpot.presentation import COLOURS, Column, Result, Table, make_figure
from tlpot.stored_results import write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROUNDING = 1e-6
"""Relative; errors that differ by less are the same."""


_MARK = "*"
"""At errors of trainings that were too short."""

_MARKERS = "osD^vP*Xhp<>d8"
_GREY = "0.35"
_DASHES = ("-", "--", "-.", ":")
"""Of what needs no network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What a law of the smaller sizes said about a larger one.

    Attributes:
        label: of the series.
        size: labels.
        forecast: error by the law, with the ends of its interval.
        measured: mean error over the seeds.
    """

    label: str
    size: int
    forecast: tuple[float, float, float]
    measured: float


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class CurveReport(Result):
    """One error of a curve, analysed.

    Attributes:
        curve: the measurements.
        quantity: which error, such as ``forces_mae``.
        laws: by label of the series, of errors that fall.
        unfitted: why there is no law, by label.
        convergence: whether the trainings were long enough, by label.
        savings: of each transfer with a law of scratch to compare it with.
        without_savings: why there are no worths; empty if there are.
        forecasts: if the laws were fitted to the smaller sizes only.
    """

    curve: Curve
    quantity: str
    laws: Mapping[str, Law]
    unfitted: Mapping[str, str]
    convergence: Mapping[str, Convergence]
    savings: Mapping[str, tuple[LabelSavings, ...]]
    without_savings: str = ""
    forecasts: tuple[Forecast, ...] = ()

    def text(self) -> str:
        """Returns tables: errors, laws, worth, forecasts."""
        parts = [self._errors(), self._laws(), self._savings()]
        if self.forecasts:
            parts.append(self._forecasts())
        return "\n\n".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers."""
        return {
            "unit": self.curve.unit_of(self.quantity),
            "mean": "geometric",
            "training": {label: found.as_json() for label, found in self.convergence.items()},
            "laws": {label: law.as_json() for label, law in self.laws.items()},
            "without a law": dict(self.unfitted),
            "worth": {
                label: [row.as_json() for row in rows] for label, rows in self.savings.items()
            },
            "without a worth": self.without_savings,
        }

    def _errors(self) -> str:
        curve, lines = self.curve, []
        lines.append(
            f"{_words(self.quantity)} in {curve.unit_of(self.quantity)} at {curve.level} on "
            f"{curve.n_test} test frames,\n"
            "geometric mean ± relative standard deviation over the seeds;\n"
            f"labels are training frames, {curve.n_validation} more are for validation"
        )
        series = [s for s in curve.series if s.measured(self.quantity)]
        sizes = sorted({p.size for s in series for p in s.points})
        cells: dict[str, list[str]] = {}
        for s in series:
            rows = {m.sizes[0]: m.errors for m in s.measured(self.quantity)}
            short = self.convergence[s.label].under_trained
            cells[s.label] = [
                _mean(rows.get(size, ())) + (_MARK if size in short else "") for size in sizes
            ]
            last = [p for p in s.points if p.size == sizes[-1]]
            start = [p.start[self.quantity] for p in last if self.quantity in p.start]
            cells[s.label].append(_mean(start))
        heads = [*[str(size) for size in sizes], f"step 0, {sizes[-1]}"] if sizes else []
        columns: list[Column | str] = ["labels", *(Column(head, align="right") for head in heads)]
        for name, measured in curve.baselines(self.quantity).items():
            rows = {m.sizes[0]: m.errors for m in measured}
            cells[f"({name})"] = [*(_mean(rows.get(size, ())) for size in sizes), "-"]
        table = [(label, *row) for label, row in cells.items()]
        lines += Table(columns, table, indent=2).lines()
        return "\n".join([*lines, *self._seeds(series), *self._training(), *self._negative()])

    def _seeds(self, series: Sequence[Series]) -> list[str]:
        """Says behind which errors there are fewer seeds than were asked for."""
        asked = int(self.curve.config.get("seeds", 0))
        fewer: dict[str, list[str]] = {}
        for s in series:
            found: dict[int, list[str]] = {}
            for row in s.measured(self.quantity):
                found.setdefault(len(row.errors), []).append(str(int(row.sizes[0])))
            for n, sizes in found.items():
                if n < asked:
                    words = f"{', '.join(sizes)} labels: {n} of {asked} seeds"
                    fewer.setdefault(words, []).append(s.label)
        return [
            line
            for words, labels in fewer.items()
            for line in (
                [words]
                if len(labels) == len(series)
                else [f"{label} with {words}" for label in labels]
            )
        ]

    def _negative(self) -> list[str]:
        """Says where a transfer is worse than scratch, or than what needs no network."""
        curve, lines = self.curve, []
        base = {} if curve.scratch is None else _by_size(curve.scratch.measured(self.quantity))
        trivial = {k: _by_size(rows) for k, rows in curve.baselines(self.quantity).items()}
        for s in curve.series:
            mine = _by_size(s.measured(self.quantity))
            worse = [n for n, error in mine.items() if n in base and error > base[n]]
            if worse and curve.scratch is not None and not s.is_scratch:
                lines += _worse_than_scratch(s, curve.scratch, self.quantity, worse)
            for name, rows in trivial.items():
                # what is the same to rounding, as a shift is the composition, is no better
                behind = [
                    str(n) for n, e in mine.items() if n in rows and e >= (1 - _ROUNDING) * rows[n]
                ]
                if behind:
                    lines.append(
                        f"NO BETTER THAN {name.upper()}: {s.label} with {', '.join(behind)} labels"
                    )
        return lines

    def _training(self) -> list[str]:
        """What the marks mean, and of which trainings nothing is known."""
        lines = []
        if any(found.under_trained for found in self.convergence.values()):
            lines.append(
                f"{_MARK} under-trained: the validation error still fell by more than "
                f"{100 * LARGEST_FALL:.0f} % in the last fifth of the updates; "
                f"{more_updates(self.curve.config)}"
            )
        unknown = [c for c in self.convergence.values() if c.doubt == "not known"]
        return lines + doubts(unknown, self.curve.config)

    def _laws(self) -> str:
        lines = ["laws err(n) = D n^-α + C, 95 % intervals in brackets"]
        width = max([len(label) for label in (*self.laws, *self.unfitted)] + [1])
        for label, law in self.laws.items():
            alpha, floor = law.exponent(), law.floor
            lines.append(
                f"  {label:{width}}  D {law.scale.value:.3g}   α {_interval(alpha)}   "
                f"C {_interval(floor)}"
            )
            lines += [f"  {'':{width}}  note: {note}" for note in law.notes]
            if short := self.convergence[label].under_trained:
                sizes = ", ".join(map(str, short))
                lines.append(
                    f"  {'':{width}}  note: under-trained with {sizes} labels, so this is the law "
                    "of trainings of this length"
                )
        lines += [f"  {label:{width}}  none: {why}" for label, why in self.unfitted.items()]
        return "\n".join(lines)

    def _savings(self) -> str:
        if self.without_savings:
            head = f"what the pretraining is worth cannot be said by laws: {self.without_savings}"
            return "\n".join([head, *self._crossover()])
        lines = ["what the pretraining is worth, in labels that scratch would need besides"]
        for label, rows in self.savings.items():
            lines.append(f"  {label}")
            short = self.convergence[label].under_trained
            lines += [
                f"  {row.text()}"
                + (", and perhaps more: it is under-trained" if row.labels in short else "")
                for row in rows
            ]
        return "\n".join(lines)

    def _crossover(self) -> list[str]:
        """What the measurements say without a law."""
        curve = self.curve
        if curve.scratch is None or self.convergence[curve.scratch.label].doubt:
            return []
        base = curve.scratch.measured(self.quantity)
        found = {
            s.label: crossover(s.measured(self.quantity), base)
            for s in curve.series
            if not s.is_scratch
        }
        return [f"  measured: {k}, {row.text()}" for k, row in found.items() if row is not None]

    def _forecasts(self) -> str:
        lines = ["forecasts of the laws for sizes they were not fitted to"]
        for row in self.forecasts:
            value, low, high = row.forecast
            inside = (
                "no interval"
                if np.isnan(low)
                else ("inside" if low <= row.measured <= high else "outside")
            )
            lines.append(
                f"  {row.label}, {row.size} labels: forecast {value:.4g} ({low:.4g} to "
                f"{high:.4g}), measured {row.measured:.4g}: {inside}"
            )
        return "\n".join(lines)


def analyse(curve: Curve, quantity: str, *, up_to: float = np.inf) -> CurveReport:
    """Fits the laws of all series, to sizes of at most `up_to`, and forecasts the larger ones.

    Raises:
        ConfigError: no such error.
    """
    quantity = curve.check_quantity(quantity)
    laws: dict[str, Law] = {}
    unfitted: dict[str, str] = {}
    training = {s.label: convergence(s, quantity) for s in curve.series}
    forecasts = []
    for series in curve.series:
        law = series.law(quantity, up_to)
        if isinstance(law, str):
            unfitted[series.label] = law
            continue
        laws[series.label] = law
        for measured in series.measured(quantity):
            if measured.sizes[0] > up_to:
                found = law.estimate(measured.sizes[0])
                forecasts.append(
                    Forecast(
                        label=series.label,
                        size=int(measured.sizes[0]),
                        forecast=(found.value, found.low, found.high),
                        measured=geometric(measured.errors),
                    )
                )
    savings: dict[str, tuple[LabelSavings, ...]] = {}
    without_savings = _without_savings(curve, unfitted, training)
    if not without_savings and curve.scratch is not None:
        for series in curve.series:
            if not series.is_scratch and (rows := series.measured(quantity, up_to)):
                savings[series.label] = tuple(savings_of(rows, laws[curve.scratch.label]))
    return CurveReport(
        curve=curve,
        quantity=quantity,
        laws=laws,
        unfitted=unfitted,
        convergence=training,
        savings=savings,
        without_savings=without_savings,
        forecasts=tuple(forecasts),
    )


def _without_savings(
    curve: Curve, unfitted: Mapping[str, str], training: Mapping[str, Convergence]
) -> str:
    scratch = curve.scratch
    if scratch is None:
        return "the curve has no 'scratch' to compare with; add it to the strategies"
    # an error that more updates would lower is no measure of labels
    if training[scratch.label].under_trained:
        return f"{training[scratch.label].text()}; {more_updates(curve.config)}"
    if training[scratch.label].unknown:
        return "scratch may be under-trained, see above"
    if scratch.label in unfitted:
        return f"scratch has no law: {unfitted[scratch.label]}"
    return ""


def save_reports(reports: Mapping[str, CurveReport], folder: Path) -> None:
    """Writes ``laws.json`` and ``report.txt``.

    Raises:
        OutputError: a file could not be written.
    """
    content = {quantity: report.as_json() for quantity, report in reports.items()}
    write_json(folder / "laws.json", content)
    text = "\n\n\n".join(report.text() for report in reports.values())
    write_text(folder / "report.txt", text + "\n")


def _worse_than_scratch(
    series: Series, scratch: Series, quantity: str, worse: Sequence[int]
) -> list[str]:
    """Says where a transfer is worse than scratch, and where that may be chance.

    Seeds have the same subset of the labels, so that their ratios are compared; how these scatter
    is taken from all sizes, as three seeds of one tell little.
    """
    from scipy.special import stdtrit

    errors = [
        {(p.size, p.seed): p.end[quantity] for p in each.points if p.end.get(quantity, 0.0) > 0.0}
        for each in (series, scratch)
    ]
    logs: dict[int, list[float]] = {}
    for key in errors[0].keys() & errors[1].keys():
        logs.setdefault(key[0], []).append(float(np.log(errors[0][key] / errors[1][key])))
    freedom = sum(len(row) - 1 for row in logs.values())
    width = np.inf
    if freedom:
        square = sum(len(row) * float(np.var(row)) for row in logs.values()) / freedom
        width = float(stdtrit(freedom, 0.5 * (1.0 + CONFIDENCE))) * np.sqrt(square)
    sure = [n for n in worse if n in logs and np.mean(logs[n]) > width / np.sqrt(len(logs[n]))]
    unsure = [n for n in worse if n not in sure]
    lines = []
    if sure:
        lines.append(
            f"NEGATIVE TRANSFER: {series.label} is worse than scratch with "
            f"{', '.join(map(str, sure))} labels"
        )
    if unsure:
        why = "which may be chance, by the scatter of the seeds"
        if not freedom:
            why = "of which one seed cannot say whether it is chance; take three (--seeds 3)"
        lines.append(
            f"{series.label} is worse than scratch with {', '.join(map(str, unsure))} labels, {why}"
        )
    return lines


def _by_size(rows: Sequence[Measured]) -> dict[int, float]:
    return {int(row.sizes[0]): geometric(row.errors) for row in rows}


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "-"
    text = f"{geometric(values):.4g}"
    if len(values) < 2:
        return text
    spread = 100 * relative_spread(values)
    return text + f" ± {f'{spread:.2g}' if spread < 99.5 else f'{spread:.0f}'} %"


def _interval(found: Any) -> str:
    text = f"{found.value:.3g}"
    return text if np.isnan(found.low) else f"{text} [{found.low:.3g}, {found.high:.3g}]"


def _words(quantity: str) -> str:
    kind, error = quantity.rsplit("_", 1)
    return f"{kind.replace('_', ' ')} {error.upper()}"


_LETTER, _HANDLE, _ROW = 0.075, 0.7, 0.19
"""Inches that a letter, a handle with its gaps and a row take in a legend."""


def curve_figure(reports: Mapping[str, CurveReport]) -> Figure:
    """Returns one panel for each error: means with their spread, laws with their bands.

    Means are geometric, as in the tables; points of trainings that were too short are hollow.
    """
    from matplotlib.lines import Line2D

    figure, (panels,) = make_figure(5.4 * len(reports), 4.9, 1, len(reports))
    for axes, (quantity, report) in zip(panels, reports.items(), strict=True):
        _panel(axes, quantity, report)
    handles, labels = panels[0].get_legend_handles_labels()
    if any(c.under_trained for r in reports.values() for c in r.convergence.values()):
        hollow = Line2D([], [], color=_GREY, marker="o", linestyle="none", markerfacecolor="white")
        handles, labels = [*handles, hollow], [*labels, "hollow: under-trained"]
    width, height = figure.get_size_inches()
    longest = max((len(label) for label in labels), default=0)
    n_columns = max(1, min(4, len(labels), int(width / (_LETTER * longest + _HANDLE))))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=n_columns, frameon=False, fontsize=9
    )
    # the panels keep their size, however many names there are
    figure.set_size_inches(width, height + _ROW * max(0, -(-len(labels) // n_columns) - 2))
    return figure


def _panel(axes: Axes, quantity: str, report: CurveReport) -> None:
    from matplotlib import colormaps
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    series = [s for s in report.curve.series if s.measured(quantity)]
    palette: Sequence[Any] = COLOURS
    if len(series) > len(COLOURS):
        palette = [colormaps["tab20"](k) for k in range(20)]
    sizes = sorted({p.size for s in series for p in s.points})
    values = [e for s in series for m in s.measured(quantity) for e in m.errors if e > 0]
    for k, line in enumerate(series):
        colour = _GREY if line.is_scratch else palette[k % len(palette)]
        _line(axes, line, report, colour, _MARKERS[k % len(_MARKERS)])
    for k, (name, rows) in enumerate(report.curve.baselines(quantity).items()):
        means = _by_size(rows)
        values += means.values()
        axes.plot(
            list(means), list(means.values()), color="0.7", linewidth=1, zorder=0,
            linestyle=_DASHES[k % len(_DASHES)], label=f"({name})",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    if values:
        axes.set_ylim(min(values) / 1.5, max(values) * 1.5)
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"{report.curve.level} labels")
    kind, error = quantity.rsplit("_", 1)
    axes.set_ylabel(f"{kind.replace('_', ' ')} {error.upper()} ({report.curve.unit_of(quantity)})")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def _line(axes: Axes, line: Series, report: CurveReport, colour: object, marker: str) -> None:
    rows = line.measured(report.quantity)
    x = np.array([m.sizes[0] for m in rows])
    mean = np.array([geometric(m.errors) for m in rows])
    factor = np.array([1.0 + relative_spread(m.errors) for m in rows])
    axes.errorbar(
        x, mean, yerr=[mean - mean / factor, mean * factor - mean], color=colour, marker=marker,
        markersize=5, capsize=2, linestyle="none" if line.label in report.laws else ":",
        label=line.label, zorder=3,
    )  # fmt: skip
    short = np.isin(x, report.convergence[line.label].under_trained)
    axes.plot(
        x[short], mean[short], color=colour, marker=marker, markersize=5, linestyle="none",
        markerfacecolor="white", zorder=4,
    )  # fmt: skip
    law = report.laws.get(line.label)
    if law is None:
        return
    grid = np.geomspace(x.min(), x.max(), 80)
    axes.plot(grid, law.predict(grid), color=colour, linewidth=1.3)
    band = law.band(grid)
    if band is not None:
        axes.fill_between(grid, *band, color=colour, alpha=0.13, linewidth=0)
