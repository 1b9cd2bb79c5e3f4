"""Learning curves on log–log scales with the bands of their laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlpot.learning_curves.record import Series, geometric, relative_spread, unit_of
from tlpot.learning_curves.report import CurveReport
from tlpot.presentation import COLOURS, make_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_MARKERS = "osD^vP*Xhp<>d8"
_GREY = "0.35"

_LETTER, _HANDLE, _ROW = 0.075, 0.7, 0.19
"""Inches that a letter, a handle with its gaps and a row take in a legend."""


def curve_figure(reports: Mapping[str, CurveReport]) -> Figure:
    """Returns one panel for each error: means with their spread, laws with their bands.

    Means are geometric, as in the tables; points of trainings that were too short are hollow.

    Args:
        reports: by quantity.
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
    axes.set_ylabel(f"{kind.replace('_', ' ')} {error.upper()} ({unit_of(quantity)})")
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
