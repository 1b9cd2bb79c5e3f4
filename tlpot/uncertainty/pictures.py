"""The calibration picture: is the error as large as the model says?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tlpot.presentation import COLOURS, add_legend, make_figure
from tlpot.uncertainty.conformal import CalibrationReport, normal_quantile
from tlpot.uncertainty.spreads import Deviations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHARES = np.linspace(0.02, 0.98, 49)


def calibration_figure(report: CalibrationReport, judged: Deviations, title: str) -> Figure:
    """Returns a reliability curve, and error against σ with both axes logarithmic.

    Errors below a hundredth of the median σ are drawn there.

    Args:
        report: of the calibration.
        judged: the frames that the report is about.
        title: of the picture.
    """
    error = 1e3 * np.abs(judged.energy)
    reported = 1e3 * judged.energy_std * report.factor
    sigma = reported / normal_quantile(report.coverage)
    z = np.array([normal_quantile(share) for share in _SHARES.tolist()])
    figure, panels = make_figure(9.4, 4.6, 1, 2, title=title)
    left, right = panels[0]

    left.plot([0, 100], [0, 100], color="0.6", linewidth=1, zorder=0)
    for name, std, color in (
        ("raw σ", 1e3 * judged.energy_std, COLOURS[1]),
        ("calibrated σ", sigma, COLOURS[0]),
    ):
        observed = (error[None] <= z[:, None] * std[None]).mean(axis=1)
        left.plot(100 * _SHARES, 100 * observed, color=color, label=name)
    known = [row for row in report.rows if np.isfinite(row.interval)]
    left.plot(
        [100 * row.expected for row in known], [100 * row.interval for row in known],
        "o", color="black", markersize=4, label="conformal intervals",
    )  # fmt: skip
    left.set(xlim=(0, 100), ylim=(0, 101), aspect="equal")
    left.set_xlabel("expected coverage (%)")
    left.set_ylabel("observed coverage (%)")
    left.set_title(f"{report.n_judged} {report.judged_on}", fontsize=9)
    add_legend(left, loc="upper left")

    # a logarithmic axis has no place for an error of zero, and little use for the smallest
    floor = 1e-2 * float(np.median(reported))
    ends = np.array([0.8 * reported.min(), 1.25 * reported.max()])
    right.fill_between(ends, floor / 2, ends, color=COLOURS[0], alpha=0.12, linewidth=0)
    right.plot(ends, ends, color=COLOURS[0], linewidth=1, label="|error| = σ")
    right.plot(ends, 2 * ends, color=COLOURS[0], linewidth=1, linestyle=":", label="|error| = 2σ")
    names = sorted(set(judged.groups.tolist()))
    if len(names) <= len(COLOURS):
        for k, name in enumerate(names):
            own = judged.groups == name
            right.scatter(
                reported[own], np.maximum(error[own], floor), s=10, linewidths=0,
                color=COLOURS[k], label=name,
            )  # fmt: skip
    else:
        right.scatter(reported, np.maximum(error, floor), s=8, linewidths=0, color="0.25")
    right.set(xscale="log", yscale="log", xlim=tuple(ends), ylim=(floor / 2, None))
    right.set_xlabel("calibrated σ of the energy (meV)")
    right.set_ylabel("|error| of the energy (meV)")
    right.set_title(
        f"below the line: {report.coverage:.0%} expected; Spearman {report.spearman:.2f}",
        fontsize=9,
    )
    add_legend(right, frameon=True, framealpha=0.8, edgecolor="none", fontsize=7, loc="lower right")
    right.tick_params(which="minor", labelsize=7)
    return figure
