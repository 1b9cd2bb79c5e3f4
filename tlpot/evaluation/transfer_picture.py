"""The picture of a transfer report: errors, force drift, dimer walls, dynamics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.evaluation.predictions import Predictions
from tlpot.presentation import COLOURS, add_legend, letter_panels, make_figure, short, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tlpot.evaluation.transfer_report import TransferReport
    from tlpot.evaluation.walls import DimerCurve

_CHEMICAL_ACCURACY = 43.4
"""1 kcal/mol in meV."""
_PAIRS = 4
_TALLEST = 10.0
"""eV; walls are cut off here, or above the highest barrier."""


def report_figure(report: TransferReport) -> Figure:
    """Returns the figure with its four panels."""
    origin = f"{report.source} → " if report.source else ""
    title = f"{origin}{report.level}, {report.part} frames"
    figure, panels = make_figure(9.6, 7.4, 2, 2, title=title)
    for draw, axes in zip((_errors, _drift, _dimers, _dynamics), panels.ravel(), strict=True):
        draw(axes, report)
    letter_panels(panels.ravel())
    return figure


def _errors(axes: Axes, report: TransferReport) -> None:
    kind, unit = ("energy", "meV")
    if not np.isfinite(report.end.energy[:, 0]).any():
        kind, unit = ("force component", "meV/Å")
    axes.set_title(f"errors of the {kind}")
    runs = [(report.start, "before training", "0.55", "--"), (report.end, "after", COLOURS[0], "-")]
    smallest = np.inf
    for predictions, name, colour, style in runs:
        if predictions is None:
            continue
        error = np.sort(_absolute_errors(predictions, kind))
        share = np.arange(1, len(error) + 1) / len(error)
        label = f"{name}: median {short(np.median(error))}, mean {short(error.mean())} {unit}"
        axes.step(error, 100 * share, where="post", color=colour, linestyle=style, label=label)
        smallest = min(smallest, float(np.quantile(error, 0.02)))
    if kind == "energy":
        axes.plot([_CHEMICAL_ACCURACY] * 2, [0, 100], color="0.8", linewidth=1, zorder=0)
        axes.text(
            _CHEMICAL_ACCURACY, 100.5, "1 kcal/mol", color="0.5", fontsize=8, ha="center",
            va="bottom",
        )  # fmt: skip
    axes.set_xscale("log")
    if smallest > 0:
        axes.set_xlim(left=0.7 * smallest)
    axes.set_ylim(0, 125)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel(f"|model − label| ({unit})")
    axes.set_ylabel("frames below (%)" if kind == "energy" else "components below (%)")
    add_legend(axes, loc="upper left")


def _absolute_errors(predictions: Predictions, kind: str) -> NDArray[np.float64]:
    pair = predictions.energy if kind == "energy" else predictions.forces.reshape(-1, 2)
    error = 1e3 * np.abs(pair[:, 1] - pair[:, 0])
    known: NDArray[np.float64] = error[np.isfinite(error)]
    return known


def _drift(axes: Axes, report: TransferReport) -> None:
    axes.set_title("force drift from the parent")
    drift = report.drift
    if drift is None:
        return _nothing(axes, report.skipped["drift"])
    sizes = np.abs(drift.components)
    if not sizes.any():
        return _nothing(axes, "every force is the parent's")
    edges = np.geomspace(max(np.quantile(sizes[sizes > 0], 0.005), 1e-6), sizes.max() * 1.001, 26)
    for k, z in enumerate(sorted(set(drift.atomic_numbers.tolist()))):
        of_element = sizes[drift.atomic_numbers == z].reshape(-1)
        name = f"{chemical_symbols[z]}: RMS {short(drift.by_element[chemical_symbols[z]])}"
        weights = np.full(of_element.size, 100.0 / of_element.size)
        axes.hist(
            np.clip(of_element, edges[0], None), edges.tolist(), weights=weights, histtype="step",
            color=COLOURS[k % len(COLOURS)], linewidth=1.4, label=name,
        )  # fmt: skip
    height = axes.get_ylim()[1]
    for value, name, style in (
        (drift.rms, "all: RMS", "-"),
        (drift.parent_rms, "RMS force of the parent", ":"),
    ):
        label = f"{name} {short(value)}"
        axes.plot([value] * 2, [0, height], color="black", linewidth=1, ls=style, label=label)
    axes.set_xscale("log")
    axes.set_xlabel("|new − parent|, force component (meV/Å)")
    axes.set_ylabel("components of the element (%)")
    axes.set_ylim(0, 1.4 * height)
    add_legend(axes, loc="upper left")
    return None


def _dimers(axes: Axes, report: TransferReport) -> None:
    scan = report.dimers
    if scan is None:
        axes.set_title("dimer walls")
        return _nothing(axes, report.skipped["dimers"])
    holes = sum(d.new.hole is not None for d in scan.dimers)
    weak = sum(d.new.weak for d in scan.dimers)
    axes.set_title(f"dimer walls: {holes} with a hole, {weak} weak, of {len(scan.dimers)}")
    shown = scan.worst_first[:_PAIRS]
    for k, dimer in enumerate(shown):
        curve, colour = dimer.new, COLOURS[k]
        axes.plot(curve.distances, curve.energies, color=colour, label=dimer.name)
        if dimer.parent is not None:
            axes.plot(dimer.parent.distances, dimer.parent.energies, color=colour, ls="--", lw=1)
        if curve.hole is not None:
            at = int(np.argmin(np.abs(curve.distances - curve.hole.distance)))
            axes.plot(curve.hole.distance, curve.energies[at], "v", color=colour, markersize=8)
    if scan.dimers[0].parent is not None:
        axes.plot([], [], color="0.3", ls="--", lw=1, label="parent")
    if holes:
        axes.plot([], [], "v", color="0.3", linestyle="none", label="hole")
    lowest = min(float(d.new.energies.min()) for d in shown)
    walls = min(_TALLEST, max(float(d.new.energies.max()) for d in shown))
    axes.set_ylim(1.1 * lowest - 0.3, 1.1 * max([walls, *(_top(d.new) for d in shown)]) + 0.3)
    axes.axhline(0, color="0.8", linewidth=1, zorder=0)
    axes.set_xlabel("distance (Å)")
    axes.set_ylabel("energy − free atoms (eV)")
    add_legend(axes, title="worst pairs")
    return None


def _dynamics(axes: Axes, report: TransferReport) -> None:
    run = report.stability
    if run is None:
        axes.set_title("dynamics at constant energy")
        return _nothing(axes, report.skipped["md"])
    axes.set_title(f"dynamics of {run.formula} at constant energy")
    time = np.array([s.time for s in run.samples])
    potential = np.array([s.potential for s in run.samples])
    potential = 1e3 * (potential - run.samples[0].total) / run.n_atoms
    drift = f", drift {signed(run.drift)} meV/atom/ps"
    if run.broken or not np.isfinite(run.drift):
        drift = ""
    axes.plot(time, run.deviations, color="black", label=f"total energy{drift}")
    axes.plot(
        time,
        potential,
        color=COLOURS[0],
        linewidth=1,
        label=f"potential energy, mean {run.kelvin:.0f} K",
    )
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))
    axes.set_xlabel("time (fs)")
    axes.set_ylabel("energy − first total (meV/atom)")
    title = f"BROKEN at {run.broken}" if run.broken else None
    add_legend(axes, loc="upper left", title=title)
    return None


def _nothing(axes: Axes, reason: str) -> None:
    axes.text(
        0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color="0.4",
        fontsize=9, wrap=True,
    )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])


def _top(curve: DimerCurve) -> float:
    """Energy of the barrier in front of the hole, eV; 0 without a hole."""
    if curve.hole is None:
        return 0.0
    at = int(np.argmin(np.abs(curve.distances - curve.hole.barrier_distance)))
    return float(curve.energies[at])
