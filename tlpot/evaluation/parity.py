"""The parity plot: what the model says against what quantum chemistry says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlpot.evaluation.predictions import Predictions
from tlpot.presentation import make_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 120


def parity_figure(predictions: Predictions, title: str) -> Figure:
    """Returns a picture of energies (per atom, molecule by molecule about the mean label) and
    forces.

    The lower panels show the errors. Many points are drawn as a density.

    Args:
        predictions: labels and predictions.
        title: of the picture.
    """
    label, found = predictions.energy.T
    offset = np.zeros_like(label)
    for name in set(predictions.groups.tolist()):
        frames = predictions.groups == name
        offset[frames] = np.nanmean(label[frames]) if np.isfinite(label[frames]).any() else 0.0
    panels = [
        ("energy per atom − mean label of the molecule", "meV/atom",
         1e3 * (label - offset) / predictions.sizes, 1e3 * (found - offset) / predictions.sizes),
        ("force component", "eV/Å",
         predictions.forces[..., 0].reshape(-1), predictions.forces[..., 1].reshape(-1)),
    ]  # fmt: skip
    panels = [panel for panel in panels if np.isfinite(panel[2]).any()]
    figure, axes = make_figure(
        4.6 * len(panels), 5.4, 2, len(panels), title=title, height_ratios=[3, 1], sharex="col"
    )
    for (name, unit, x, y), (upper, lower) in zip(panels, axes.T, strict=True):
        known = np.isfinite(x)
        x, y = x[known], y[known]
        scale = 1e3 if unit == "eV/Å" else 1.0
        limits = [min(x.min(), y.min()), max(x.max(), y.max())]
        upper.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
        _scatter(upper, x, y)
        error = scale * (y - x)
        error_unit = "meV/Å" if unit == "eV/Å" else unit
        text = f"MAE {np.abs(error).mean():.3g}\nRMSE {np.sqrt((error**2).mean()):.3g} {error_unit}"
        upper.text(0.04, 0.96, text, transform=upper.transAxes, va="top", fontsize=9)
        upper.set_ylabel(f"model ({unit})")
        upper.set_title(name, fontsize=9)
        _scatter(lower, x, error)
        lower.axhline(0, color="0.6", linewidth=1, zorder=0)
        lower.set_ylabel(f"error ({error_unit})")
        lower.set_xlabel(f"reference ({unit})")
    return figure


def _scatter(axes: object, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Points coloured by how many share their place, the crowded ones on top."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=_BINS)
    i = np.clip(np.searchsorted(x_edges, x, side="right") - 1, 0, _BINS - 1)
    j = np.clip(np.searchsorted(y_edges, y, side="right") - 1, 0, _BINS - 1)
    density = np.log1p(counts[i, j])
    order = np.argsort(density)
    axes.scatter(  # type: ignore[attr-defined]
        x[order], y[order], c=density[order], s=6, cmap="viridis", linewidths=0, rasterized=True
    )
