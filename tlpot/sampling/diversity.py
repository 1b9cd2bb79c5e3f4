"""How different the chosen geometries are: a table and pictures."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from tlpot.numbers import Floats
from tlpot.presentation import COLOURS, Column, Result, Table, drawn, make_figure
from tlpot.sampling.fragment import FragmentSamples
from tlpot.topology import MolecularGraph, backbone_dihedrals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = 30.0
"""Degrees."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diversity:
    """One row of the report.

    Attributes:
        name: of the fragment.
        frames: number chosen.
        methods: chosen by method.
        energy_range: highest less lowest energy of the chosen, eV.
        cells: share of 30° × 30° cells of the Ramachandran plot that are occupied; None for a
            fragment without φ and ψ.
        radius: see `FragmentSamples`; the smaller, the better the pool is covered.
        random_radius: see `FragmentSamples`.
        lost: geometries lost, by reason.
    """

    name: str
    frames: int
    methods: dict[str, int]
    energy_range: float
    cells: float | None
    radius: float
    random_radius: float
    lost: dict[str, int]


def diversity(samples: FragmentSamples) -> Diversity:
    """Describes the samples of one fragment.

    Args:
        samples: of the fragment.
    """
    energies = np.array([c.energy for c in samples.chosen])
    angles = ramachandran(samples)
    return Diversity(
        name=samples.name,
        frames=len(energies),
        methods=dict(sorted(Counter(c.method for c in samples.chosen).items())),
        energy_range=float(np.ptp(energies)),
        cells=None if not len(angles) else occupied(angles),
        radius=samples.radius,
        random_radius=samples.random_radius,
        lost={
            key.removeprefix("lost: "): n
            for key, n in samples.counts.items()
            if key.startswith("lost: ") and n
        },
    )


def ramachandran(samples: FragmentSamples) -> Floats:
    """φ and ψ of every chosen geometry and residue, [n, 2], degrees from -180 to 180.

    Args:
        samples: of one fragment; without a residue between two amides, n is 0.
    """
    pairs = _dihedrals(samples.atoms)
    rows = []
    for candidate in samples.chosen if pairs else ():
        atoms = candidate.placed(samples.atoms)
        rows += [[atoms.get_dihedral(*phi), atoms.get_dihedral(*psi)] for phi, psi in pairs]
    return (np.array(rows).reshape(-1, 2) + 180.0) % 360.0 - 180.0


def _dihedrals(atoms: Atoms) -> list[Any]:
    return [] if atoms.pbc.any() else list(backbone_dihedrals(MolecularGraph(atoms)))


def occupied(angles: Floats) -> float:
    """The share of 30° cells of a Ramachandran plot that hold a geometry.

    Args:
        angles: φ and ψ, [n, 2], degrees.
    """
    side = round(360.0 / CELL)
    bins = np.floor((angles % 360.0) / CELL).astype(np.int64) % side
    return len(np.unique(bins, axis=0)) / side**2


def table(rows: Sequence[Diversity]) -> str:
    """The report as text.

    Args:
        rows: one for each fragment.
    """
    columns: list[Column | str] = [
        "fragment", Column("frames", gap=1), Column("E range (eV)", ".2f"),
        Column("phi/psi cells", ".0%"), Column("radius (random)", align="right"), "from",
    ]  # fmt: skip
    cells = [
        (
            row.name, row.frames, row.energy_range, row.cells,
            f"{row.radius:6.1f} ({row.random_radius:6.1f})",
            ", ".join(f"{n} {method}" for method, n in row.methods.items()),
        )
        for row in rows
    ]  # fmt: skip
    lines = Table(columns, cells, missing="-").lines()
    lost: Counter[str] = Counter()
    for row in rows:
        lost.update(row.lost)
    if lost:
        lines.append("left out: " + ", ".join(f"{n} {why}" for why, n in sorted(lost.items())))
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True, repr=False)
class SamplingReport(Result):
    """Geometries of fragments in a file, and how different they are.

    Attributes:
        output: the HDF5 file.
        level: level of theory of the energies in it.
        samples: of each fragment.
        rows: how different they are, fragment by fragment.
    """

    output: Path
    level: str
    samples: tuple[FragmentSamples, ...]
    rows: tuple[Diversity, ...]

    @classmethod
    def of(
        cls, samples: Sequence[FragmentSamples], output: str | os.PathLike[str], level: str
    ) -> SamplingReport:
        """Describes samples that were written."""
        rows = tuple(diversity(each) for each in samples)
        return cls(output=Path(output), level=level, samples=tuple(samples), rows=rows)

    @property
    def n_frames(self) -> int:
        """Number of geometries."""
        return sum(row.frames for row in self.rows)

    def headline(self) -> str:
        """Returns the file and what is in it."""
        what = f"{self.n_frames:,} geometries of {len(self.rows)} fragments"
        return f"{self.output}: {what} at {self.level}"

    def text(self) -> str:
        """Returns a table."""
        return table(self.rows)

    def as_json(self) -> Any:
        """Returns a dict for each fragment; eV."""
        return [asdict(row) for row in self.rows]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure | None:
        """Returns the Ramachandran plots; None, and no file, where no fragment has φ and ψ.

        Raises:
            OutputError: the file could not be written.
        """
        figure = ramachandran_figure(self.samples)
        return None if figure is None else drawn(figure, path)


_COLOUR_OF = {
    "scan": "0.5", "modes": COLOURS[4], "md": COLOURS[0], "dimer": COLOURS[2],
    "relaxed": COLOURS[1], "etkdg": COLOURS[3], "noise": COLOURS[5], "downhill": COLOURS[6],
}  # fmt: skip
_COLUMNS = 6
_PANELS = 60


def ramachandran_figure(samples: Sequence[FragmentSamples]) -> Figure | None:
    """Returns φ against ψ, one panel for each of the first 60 fragments that have them.

    Colours tell the methods apart.

    Args:
        samples: of all fragments; None is returned where there is nothing to draw.
    """
    from matplotlib.lines import Line2D

    shown = [s for s in samples if _dihedrals(s.atoms)][:_PANELS]
    if not shown:
        return None
    columns = min(_COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    size = 2.1 if columns > 1 else 4.0
    figure, panels = make_figure(
        size * columns + 0.8, size * rows + 0.8, rows, columns, sharex=True, sharey=True
    )
    axes = panels.ravel()
    methods = [m for m in _COLOUR_OF if any(c.method == m for s in shown for c in s.chosen)]
    for number, (panel, each) in enumerate(zip(axes, shown, strict=False)):
        angles = ramachandran(each)
        residues = len(angles) // len(each.chosen)
        made = np.repeat([c.method for c in each.chosen], residues)
        for method in methods:
            some = angles[made == method]
            panel.scatter(*some.T, s=7, color=_COLOUR_OF[method], alpha=0.7, linewidths=0)
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
    marks = [Line2D([], [], ls="", marker="o", ms=5, color=_COLOUR_OF[m], label=m) for m in methods]
    figure.legend(
        handles=marks, loc="outside upper center", ncols=len(marks), fontsize=9, frameon=False
    )
    return figure
