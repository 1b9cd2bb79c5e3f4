"""The pictures of a report: parity, dynamics and Ramachandran densities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlpot.dynamics import Motion
from tlpot.presentation import COLOURS, add_legend, letter_panels, make_figure, short
from tlpot.reports.kind_errors import StageErrors
from tlpot.reports.ramachandran import AngleRun, Ramachandran

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FORCE_FIELD, REFERENCE = COLOURS[:2]
_GREY = "0.6"
_BINS = 90
_FINE = 15.0
"""Degrees; cells of the picture."""


def parity_figure(stages: Sequence[StageErrors]) -> Figure:
    """Draws model against label: relative energies, and force components below.

    Args:
        stages: one column each.
    """
    if len(stages) == 1:  # side by side
        figure, panels = make_figure(7.0, 3.6, 1, 2)
        columns = panels
    else:
        figure, panels = make_figure(3.5 * len(stages), 6.6, 2, len(stages))
        columns = panels.T
    for stage, column in zip(stages, columns, strict=True):
        column[0].set_title(f"{stage.title}\n{stage.model_level} → {stage.label_level}", fontsize=9)
        _parity(column[0], 1e3 * stage.energy, "relative energy", "meV/atom")
        if len(stage.forces):
            _parity(column[1], stage.forces, "force component", "eV/Å")
        else:
            column[1].text(0.5, 0.5, "no forces", ha="center", transform=column[1].transAxes)
            column[1].set_axis_off()
    return figure


def _parity(axes: Axes, values: NDArray[np.float64], what: str, unit: str) -> None:
    from matplotlib.colors import LogNorm

    label, found = values.T
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * max(high - low, 1e-9)
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=_GREY, lw=1, zorder=3)
    if len(label) > 2000:
        axes.hist2d(
            label, found, bins=_BINS, range=[limits, limits], norm=LogNorm(), cmap="viridis",
            rasterized=True,
        )  # fmt: skip
    else:
        axes.scatter(label, found, s=9, color=FORCE_FIELD, alpha=0.55, linewidths=0)
    scale, error_unit = (1e3, "meV/Å") if unit == "eV/Å" else (1.0, unit)
    error = scale * (found - label)
    axes.text(
        0.04, 0.96, f"RMSE {short(float(np.sqrt(np.square(error).mean())))} {error_unit}\n"
        f"MAE {short(float(np.abs(error).mean()))}", transform=axes.transAxes, va="top", fontsize=8,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}, zorder=4,
    )  # fmt: skip
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.set_xlabel(f"label: {what} ({unit})", fontsize=8)
    axes.set_ylabel(f"model ({unit})", fontsize=8)


def dynamics_figure(motions: Sequence[Motion]) -> Figure:
    """Draws the total energy of NVE runs and the temperature of all.

    Args:
        motions: of one structure.
    """
    figure, panels = make_figure(8.6, 3.2, 1, 2)
    left, right = panels[0]
    for k, motion in enumerate(motions):
        times = 1e-3 * np.array([s.time for s in motion.samples])
        kelvin = [s.temperature for s in motion.samples]
        colour = COLOURS[k % len(COLOURS)]
        label = f"{run_name(motion)}, {motion.calculator}"
        right.plot(times, kelvin, lw=0.9, color=colour, label=label)
        if motion.settings.ensemble == "nve":
            left.plot(times, motion.deviations, lw=1, color=colour, label=label)
        if motion.broken:
            right.plot(times[-1], kelvin[-1], "x", color="red", ms=9, mew=2)
    kelvins = {m.settings.temperature for m in motions}
    for asked in kelvins:
        right.axhline(asked, color=_GREY, lw=0.8, zorder=0)
    left.axhline(0, color=_GREY, lw=0.8, zorder=0)
    for axes in panels[0]:
        axes.locator_params(axis="x", nbins=6)
    left.set_xlabel("time (ps)")
    left.set_ylabel("E(t) − E(0) (meV/atom)")
    left.set_title("total energy, NVE")
    right.set_xlabel("time (ps)")
    right.set_ylabel("kinetic temperature (K)")
    right.set_title("temperature")
    letter_panels((left, right))
    low, high = right.get_ylim()
    right.set_ylim(low, high + 0.12 * len(motions) * (high - low))  # room for the legend
    add_legend(right, loc="upper left")
    if not any(m.settings.ensemble == "nve" for m in motions):
        left.set_visible(False)
    return figure


def run_name(motion: Motion) -> str:
    """What people call the kind of a run."""
    name = motion.settings.ensemble
    return name.upper() if name != "langevin" else "Langevin"


def ramachandran_figure(each: Ramachandran) -> Figure:
    """Draws densities of φ and ψ of both runs, all residues together, and their marginals."""
    runs = [(each.force_field, FORCE_FIELD)]
    if each.reference is not None:
        runs.append((each.reference, REFERENCE))
    figure, (panels,) = make_figure(3.3 * (len(runs) + 1), 3.5, 1, len(runs) + 1)
    for (run, _), panel in zip(runs, panels, strict=False):
        _density(panel, run, each.start)
        panel.set_title(f"{run.calculator}, {short(run.picoseconds)} ps")
    side = panels[-1]
    edges = np.arange(-180.0, 180.1, _FINE)
    for run, colour in runs:
        flat = run.angles.reshape(-1, 2)
        for column, style, name in ((0, "-", "φ"), (1, "--", "ψ")):
            if len(flat):
                heights, _ = np.histogram(flat[:, column], bins=edges)
                side.stairs(
                    heights / (len(flat) * _FINE), edges, color=colour, ls=style, lw=1.3,
                    label=f"{name}, {run.calculator}",
                )  # fmt: skip
    side.set_xlim(-180, 180)
    side.set_xticks([-180, -90, 0, 90, 180])
    side.set_xlabel("angle (°)", fontsize=8)
    side.set_ylabel("probability density (1/°)", fontsize=8)
    side.margins(y=0.45)
    side.set_ylim(bottom=0)
    add_legend(side, fontsize=7, loc="upper center")
    side.set_title("marginals")
    letter_panels(panels)
    return figure


def _density(axes: Axes, run: AngleRun, start: NDArray[np.float64]) -> None:
    from matplotlib.colors import LogNorm

    edges = np.arange(-180.0, 180.1, _FINE)
    flat = run.angles.reshape(-1, 2)
    if len(flat):
        axes.hist2d(flat[:, 0], flat[:, 1], bins=[edges, edges], norm=LogNorm(vmin=1), cmap="Blues")
    axes.scatter(start[:, 0], start[:, 1], marker="x", s=22, color="black", lw=1.1, label="start")
    axes.set(xlim=(-180, 180), ylim=(-180, 180), aspect="equal")
    for setter in (axes.set_xticks, axes.set_yticks):
        setter([-180, -90, 0, 90, 180])
    axes.set_xlabel("φ (°)", fontsize=8)
    axes.set_ylabel("ψ (°)", fontsize=8)
    axes.grid(lw=0.3, alpha=0.5)
