"""The demo's learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tlpot.atomic_file import atomic_file

_STYLES = {
    "scratch": ("0.45", "o", "from scratch"),
    "shift only": ("tab:orange", "s", "pretrained, reference energies refitted"),
    "head": ("tab:green", "^", "pretrained, readout fine-tuned"),
    "full": ("tab:blue", "D", "pretrained, all weights fine-tuned"),
}
_CHEMICAL_ACCURACY = 43.4
"""1 kcal/mol in meV."""
_TICKS = [20, 50, 100, 200, 500, 1000, 2000]


def plot_demo(errors: Mapping[int, Mapping[str, list[float]]], path: Path) -> None:
    """Draws error against number of labels, one line for each strategy.

    Args:
        errors: MAE in meV for each seed, by number of labels and strategy.
        path: of the picture.

    Raises:
        OutputError: the file could not be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 4.4), layout="constrained")
    axes = figure.subplots()
    sizes = sorted(errors)
    for name, (colour, marker, label) in _STYLES.items():
        mean = np.array([np.mean(errors[n][name]) for n in sizes])
        spread = np.array([np.std(errors[n][name]) for n in sizes])
        axes.plot(sizes, mean, color=colour, marker=marker, label=label)
        axes.fill_between(sizes, mean - spread, mean + spread, color=colour, alpha=0.15)
    axes.axhline(_CHEMICAL_ACCURACY, color="0.7", linestyle="--", linewidth=1)
    axes.text(sizes[0], _CHEMICAL_ACCURACY, "1 kcal/mol", va="bottom", color="0.5", fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(n) for n in sizes])
    low, high = axes.get_ylim()
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("coupled-cluster labels")
    axes.set_ylabel("energy MAE (meV), other molecules")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    axes.set_title("ωB97X → CCSD(T) with tlpot", fontsize=11)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
