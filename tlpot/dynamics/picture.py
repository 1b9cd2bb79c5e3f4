"""The picture of a molecular-dynamics run."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from tlpot.dynamics.record import Sample
from tlpot.files import atomic_file


def plot_md(samples: Sequence[Sample], path: str | os.PathLike[str], title: str) -> None:
    """Draws total and potential energy, and the temperature, against time.

    Energies are relative to the first potential energy, so that the gap between the two
    curves is the kinetic energy.

    Args:
        samples: at least one.
        path: of the PNG file.
        title: one line.

    Raises:
        OutputError: the file could not be written.
    """
    from matplotlib.figure import Figure

    time = np.array([s.time for s in samples]) * 1e-3
    zero = samples[0].potential
    temperatures = np.array([s.temperature for s in samples])
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    upper.plot(time, [s.total - zero for s in samples], label="total", color="black", lw=1.5)
    upper.plot(time, [s.potential - zero for s in samples], label="potential", color="C0", lw=1.0)
    upper.set_ylabel("energy − first potential (eV)")
    upper.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    upper.set_title(title, fontsize=10)
    lower.plot(time, temperatures, color="C3", lw=1.0)
    mean = temperatures.mean()
    lower.axhline(mean, color="C3", lw=1.0, ls="--", label=f"mean {mean:.0f} K")
    lower.set_ylabel("temperature (K)")
    lower.set_xlabel("time (ps)")
    lower.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
