"""The picture of a molecular-dynamics run."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from tlpot.dynamics.record import Sample
from tlpot.presentation import COLOURS, add_legend, make_figure, save_picture


def plot_md(samples: Sequence[Sample], path: str | os.PathLike[str], title: str) -> None:
    """Draws total and potential energy, and the temperature, against time.

    Energies are relative to the first potential energy, so that the gap between the two
    curves is the kinetic energy.

    Args:
        samples: at least one.
        path: of the picture; its ending decides the format.
        title: one line.

    Raises:
        OutputError: the file could not be written.
    """
    time = np.array([s.time for s in samples]) * 1e-3
    zero = samples[0].potential
    temperatures = np.array([s.temperature for s in samples])
    figure, panels = make_figure(7.0, 5.0, 2, 1, sharex=True, height_ratios=[3, 2])
    upper, lower = panels[:, 0]
    upper.plot(time, [s.total - zero for s in samples], label="total", color="black", lw=1.5)
    potential = [s.potential - zero for s in samples]
    upper.plot(time, potential, label="potential", color=COLOURS[0], lw=1.0)
    upper.set_ylabel("energy − first potential (eV)")
    add_legend(upper, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    upper.set_title(title, fontsize=10)
    lower.plot(time, temperatures, color=COLOURS[1], lw=1.0)
    mean = temperatures.mean()
    lower.axhline(mean, color=COLOURS[1], lw=1.0, ls="--", label=f"mean {mean:.0f} K")
    lower.set_ylabel("temperature (K)")
    lower.set_xlabel("time (ps)")
    add_legend(lower, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_picture(figure, path)
