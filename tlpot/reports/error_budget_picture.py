"""The picture of an error budget: forces by residue and class, their distribution, energies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tlpot.presentation import letter_panels, short
from tlpot.reports.error_budget import MODEL, SCHEME, TOTAL
from tlpot.reports.error_budget_report import KCAL, BudgetReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_COLOURS = {MODEL: "C0", SCHEME: "C1", TOTAL: "0.25"}


def budget_figure(report: BudgetReport) -> Figure:
    """Returns the figure with its four panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 7.6), layout="constrained")
    (residues, classes), (spread, energies) = figure.subplots(2, 2)
    model = f"{report.model}, " if report.model else ""
    frames = "1 frame" if report.budget.n_frames == 1 else f"{report.budget.n_frames} frames"
    figure.suptitle(
        f"{report.structure}, {frames}: {model}{report.scheme}; QM is {report.reference}",
        fontsize=12,
    )
    _residues(residues, report)
    _classes(classes, report)
    _spread(spread, report)
    _energies(energies, report)
    letter_panels((residues, classes, spread, energies))
    return figure


def _residues(axes: Axes, report: BudgetReport) -> None:
    axes.set_title("forces by residue")
    residues = report.budget.topology.residues
    where = np.arange(len(residues))
    for name in report.budget.parts:
        mae = [row["mae"] for row in report.by_residue(name)]
        axes.plot(where, mae, "o-", color=_COLOURS[name], ms=4, lw=1.2, label=name)
    step = max(1, len(residues) // 24)
    names = [f"{residues[k].name} {residues[k].number(k)}" for k in where[::step]]
    axes.set_xticks(where[::step], names, rotation=90, fontsize=7)
    axes.set_ylabel("force MAE (meV/Å)")
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    axes.legend(fontsize=8, loc="upper left", frameon=False, ncols=2)


def _classes(axes: Axes, report: BudgetReport) -> None:
    axes.set_title("forces by class of atom")
    names = list(report.budget.parts)
    classes = [None, *report.budget.classes]
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        mae = [
            report.forces(name, None if c is None else report.budget.classes[c])["mae"]
            for c in classes
        ]
        shift = (k - 0.5 * (len(names) - 1)) * width
        bars = axes.barh(
            np.arange(len(classes)) + shift, mae, height=0.9 * width, color=_COLOURS[name]
        )
        axes.bar_label(bars, labels=[short(m) for m in mae], fontsize=7, padding=2)
    axes.set_yticks(range(len(classes)), [c or "all atoms" for c in classes], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("force MAE (meV/Å)")
    axes.set_xlim(0, 1.12 * axes.get_xlim()[1])


def _spread(axes: Axes, report: BudgetReport) -> None:
    axes.set_title("all components of the forces")
    for name, part in report.budget.parts.items():
        error = np.sort(1e3 * np.abs(part.forces).reshape(-1))
        error = np.maximum(error, 1e-3 * max(error[-1], 1e-9))
        share = 100 * np.arange(1, len(error) + 1) / len(error)
        label = f"{name}: median {short(np.median(error))}"
        axes.step(error, share, where="post", color=_COLOURS[name], label=label)
    axes.plot([KCAL] * 2, [0, 100], color="0.8", lw=1, zorder=0)
    axes.text(KCAL, 101, "1 kcal/mol/Å", color="0.5", fontsize=8, ha="center", va="bottom")
    axes.set_xscale("log")
    axes.set_ylim(0, 140)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("|error|, force component (meV/Å)")
    axes.set_ylabel("components below (%)")
    axes.legend(fontsize=8, loc="upper left", frameon=False)


def _energies(axes: Axes, report: BudgetReport) -> None:
    from matplotlib.ticker import MaxNLocator

    budget = report.budget
    several = budget.n_frames > 1
    unit = KCAL * budget.n_residues
    axes.axhline(0, color="0.8", lw=1, zorder=0)
    if several:
        axes.set_title("energies, the mean error of all frames taken off")
        for name, part in budget.parts.items():
            mean = short(1e3 * part.energy.mean() / unit, sign=True)
            label = f"{name}: mean {mean}"
            axes.plot(
                1e3 * part.relative / unit, "o-", color=_COLOURS[name], ms=4, lw=1.2, label=label
            )
        axes.set_xlabel("frame")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.35 * (high - low))
        axes.legend(fontsize=8, loc="upper left", frameon=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.set_title("energy")
        values = [1e3 * part.energy[0] / unit for part in budget.parts.values()]
        names = [name.replace(" − ", " −\n") for name in budget.parts]
        bars = axes.bar(names, values, color=[_COLOURS[n] for n in budget.parts])
        axes.bar_label(bars, labels=[short(v, sign=True) for v in values], fontsize=8, padding=2)
        axes.tick_params(axis="x", labelsize=8)
        axes.margins(y=0.15)
    axes.set_ylabel("error per residue (kcal/mol)")
