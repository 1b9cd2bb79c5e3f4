"""Ramachandran plots of the samples."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from tlpot.atomic_file import atomic_file
from tlpot.sampling.bonds import Molecule, backbone_dihedrals
from tlpot.sampling.diversity import ramachandran
from tlpot.sampling.fragment import FragmentSamples

COLOURS = {"scan": "C7", "modes": "C1", "md": "C0", "dimer": "C2", "relaxed": "C3"}
_COLUMNS = 6


def plot_ramachandran(samples: Sequence[FragmentSamples], path: str | os.PathLike[str]) -> bool:
    """Draws φ against ψ, one panel for each fragment that has them, coloured by method.

    Args:
        samples: of all fragments.
        path: of the PNG file.

    Returns:
        Whether there was anything to draw; without, no file is written.

    Raises:
        OutputError: the file could not be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    shown = [s for s in samples if backbone_dihedrals(Molecule(s.atoms))]
    if not shown:
        return False
    columns = min(_COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    size = 2.1 if columns > 1 else 4.0
    figure = Figure(figsize=(size * columns + 0.8, size * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    methods = [m for m in COLOURS if any(c.method == m for s in shown for c in s.chosen)]
    for number, (panel, each) in enumerate(zip(axes, shown, strict=False)):
        angles = ramachandran(each)
        residues = len(angles) // len(each.chosen)
        made = np.repeat([c.method for c in each.chosen], residues)
        for method in methods:
            some = angles[made == method]
            panel.scatter(*some.T, s=7, color=COLOURS[method], alpha=0.7, linewidths=0)
        panel.set_title(each.name.removeprefix("ACE-").removesuffix("-NME"), fontsize=9)
        panel.set(xlim=(-180, 180), ylim=(-180, 180), aspect="equal")
        panel.set_xticks([-180, 0, 180])
        panel.set_yticks([-180, 0, 180])
        # the last panel of a column may be above hidden ones
        panel.tick_params(labelsize=7, labelbottom=number + columns >= len(shown))
        panel.grid(lw=0.4, alpha=0.5)
    for panel in axes[len(shown) :]:
        panel.set_visible(False)
    figure.supxlabel("φ (°)", fontsize=9)
    figure.supylabel("ψ (°)", fontsize=9)
    marks = [Line2D([], [], ls="", marker="o", ms=5, color=COLOURS[m], label=m) for m in methods]
    figure.legend(
        handles=marks, loc="outside upper center", ncols=len(marks), fontsize=9, frameon=False
    )
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return True
