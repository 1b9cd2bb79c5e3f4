"""The pictures of a report: partition, parity, dynamics and Ramachandran densities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase.data import covalent_radii

from tlpot.dynamics import Motion
from tlpot.errors import ConfigError, nearest
from tlpot.jobs import Cut
from tlpot.numbers import Bools, Floats, mae, rmse, short
from tlpot.presentation import COLOURS, add_legend, letter_panels, make_figure
from tlpot.reports.kind_errors import StageErrors
from tlpot.reports.ramachandran import AngleRun, Ramachandran
from tlpot.topology import Topology, residue_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FORCE_FIELD, REFERENCE = COLOURS[:2]
_GREY = "0.6"
_BINS = 90
_FINE = 15.0
"""Degrees; cells of the picture."""

_PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee9944")
"""Paul Tol's bright colours, which stay apart for colour-blind readers; grey is for caps."""
_LETTERS = {
    "ALA": "A", "ARG": "R", "ASN": "N", "ASP": "D", "ASH": "D", "CYS": "C", "CYX": "C", "GLN": "Q",
    "GLU": "E", "GLH": "E", "GLY": "G", "HID": "H", "HIE": "H", "HIP": "H", "ILE": "I", "LEU": "L",
    "LYS": "K", "LYN": "K", "MET": "M", "PHE": "F", "PRO": "P", "SER": "S", "THR": "T", "TRP": "W",
    "TYR": "Y", "VAL": "V",
}  # fmt: skip
_FADED = 0.3
_MOST_RESIDUES = 1500


def parity_figure(stages: Sequence[StageErrors]) -> Figure:
    """Draws model against label, stage by stage: relative energies, force components below."""
    if len(stages) == 1:  # side by side
        figure, panels = make_figure(7.0, 3.6, 1, 2)
        columns = panels
    else:
        figure, panels = make_figure(3.5 * len(stages), 6.6, 2, len(stages))
        columns = panels.T
    for stage, column in zip(stages, columns, strict=True):
        column[0].set_title(f"{stage.title}\n{stage.model_level} → {stage.label_level}", fontsize=9)
        for axes, values, what, unit, nothing in (
            (
                column[0],
                1e3 * stage.energy,
                "relative energy",
                "meV/atom",
                "one frame of each kind",
            ),
            (column[1], stage.forces, "force component", "eV/Å", "no forces"),
        ):
            if len(values):
                _parity(axes, values, what, unit)
                continue
            axes.text(0.5, 0.5, nothing, ha="center", transform=axes.transAxes)
            axes.set_axis_off()
    return figure


def _parity(axes: Axes, values: Floats, what: str, unit: str) -> None:
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
        0.04, 0.96, f"RMSE {short(rmse(error))} {error_unit}\n"
        f"MAE {short(mae(error))}", transform=axes.transAxes, va="top", fontsize=8,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}, zorder=4,
    )  # fmt: skip
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.set_xlabel(f"label: {what} ({unit})", fontsize=8)
    axes.set_ylabel(f"model ({unit})", fontsize=8)


def dynamics_figure(motions: Sequence[Motion]) -> Figure:
    """Draws the total energy of NVE runs and the temperature of all, those of one structure."""
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


def _density(axes: Axes, run: AngleRun, start: Floats) -> None:
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


def partition_figure(cut: Cut, title: str, shown: str | None = None) -> Figure:
    """Returns the figure: the projected structure, and a table of residues that meet.

    `shown` is the name or number of the fragment whose caps are drawn; None takes one in the
    middle.

    Raises:
        ConfigError: no such fragment, or more residues than a picture can show.
    """
    n_residues = len(cut.topology.residues)
    if n_residues > _MOST_RESIDUES:
        raise ConfigError(
            f"a picture of {n_residues} residues and molecules shows nothing; take out the solvent "
            f"(at most {_MOST_RESIDUES} can be drawn)"
        )
    chosen = _choose(cut, shown)
    heading = (
        f"{title}: {cut.scheme.name}, {len(cut.fragments)} fragments, "
        f"{cut.cost:.1f} atoms evaluated per atom"
    )
    figure, panels = make_figure(12.4, 5.8, 1, 2, title=heading, width_ratios=(1.25, 1.0))
    structure, shares = panels[0]
    _structure(structure, cut, chosen)
    _shares(figure, shares, cut)
    letter_panels((structure, shares))
    return figure


def _choose(cut: Cut, shown: str | None) -> int:
    """Returns the index of the fragment to be shown."""
    if shown is None:
        return _typical(cut)
    if shown.isdecimal():
        if int(shown) >= len(cut.fragments):
            raise ConfigError(
                f"there is no fragment {shown}; they are numbered from 0 to "
                f"{len(cut.fragments) - 1}"
            )
        return int(shown)
    if shown not in cut.names:
        raise ConfigError(f"there is no fragment {shown!r}{nearest(shown, set(cut.names))}")
    return cut.names.index(shown)


def _typical(cut: Cut) -> int:
    """Returns a fragment near the centre that is in one piece, counts once and has caps."""
    everything = range(len(cut.fragments))
    chosen = [k for k in everything if cut.coefficients[k] == 1.0 and len(cut.fragments[k].host)]
    chosen = [k for k in chosen if "+" not in cut.names[k]] or chosen or list(everything)
    chosen = [k for k in chosen if cut.names[k].count("-") > 1] or chosen
    middle = cut.positions.mean(0)
    away = [np.linalg.norm(cut.positions[cut.fragments[k].real].mean(0) - middle) for k in chosen]
    return chosen[int(np.argmin(away))]


def projection(positions: Floats) -> Floats:
    """Returns positions along the principal axes, the longest first, [n_atoms, 3], Å."""
    centred = positions - positions.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    if len(axes) < 3:
        axes = np.eye(3)
    signs = np.where(np.sum((centred @ axes.T) ** 3, axis=0) < 0, -1.0, 1.0)
    return (centred @ axes.T) * signs


def _structure(axes: Axes, cut: Cut, chosen: int) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    topology, fragment = cut.topology, cut.fragments[chosen]
    flat = projection(cut.positions)
    owner = residue_of(topology)
    colours = np.array([to_rgb(_PALETTE[r % len(_PALETTE)]) for r in owner])
    inside = np.zeros(len(flat), dtype=bool)
    inside[fragment.real] = True
    shade = np.where(inside, 1.0, _FADED)[:, None]
    faded = shade * colours + (1.0 - shade) * 1.0
    _bonds(axes, topology, flat, faded, inside)
    numbers = topology.atomic_numbers
    depth = flat[:, 2] + np.where(inside, np.ptp(flat[:, 2]) + 1.0, 0.0)
    order = np.argsort(depth)
    scale = 120.0 / max(1.0, np.ptp(flat[:, 0]) / 20.0) ** 2
    sizes = scale * covalent_radii[numbers] ** 2
    edges = np.where(inside, 0.25, 0.75)
    axes.scatter(
        flat[order, 0], flat[order, 1], s=sizes[order], c=faded[order],
        edgecolors=[(g, g, g) for g in edges[order]], linewidths=0.6, zorder=3,
    )  # fmt: skip
    if len(fragment.host):
        caps = flat[fragment.host] + fragment.ratio[:, None] * (
            flat[fragment.replaced] - flat[fragment.host]
        )
        lines = np.stack([flat[fragment.host][:, :2], caps[:, :2]], axis=1)
        axes.add_collection(LineCollection(list(lines), colors="black", linewidths=1.4, zorder=2.5))
        axes.scatter(
            caps[:, 0], caps[:, 1], s=scale * covalent_radii[1] ** 2 * 2.2, c="white",
            edgecolors="black", linewidths=1.1, zorder=4, label=f"{len(caps)} caps",
        )  # fmt: skip
    _marks(axes, cut, flat)
    _names(axes, topology, flat)
    q = f", charge {fragment.charge:+d}" if fragment.charge else ""
    sign = f"{cut.coefficients[chosen]:+.3g}".replace("-", "−")
    axes.set_title(
        f"cuts; in full colour fragment {chosen}, {cut.names[chosen]}, coefficient {sign}{q}"
    )
    axes.set_aspect("equal")
    axes.margins(0.08)
    add_legend(axes, loc="best")
    axes.set_xlabel("along the longest principal axis (Å)")
    axes.set_ylabel("second axis (Å)")


def _bonds(axes: Axes, topology: Topology, flat: Floats, colours: Floats, inside: Bools) -> None:
    """Each half of a bond has the colour of its atom."""
    from matplotlib.collections import LineCollection

    for there, order in ((False, 1.0), (True, 2.0)):
        pairs = topology.bonds[inside[topology.bonds].all(axis=1) == there]
        begin, end = flat[pairs[:, 0], :2], flat[pairs[:, 1], :2]
        middle = 0.5 * (begin + end)
        lines = np.concatenate([np.stack([begin, middle], 1), np.stack([middle, end], 1)])
        tints = np.concatenate([colours[pairs[:, 0]], colours[pairs[:, 1]]])
        axes.add_collection(
            LineCollection(
                list(lines), colors=tints, linewidths=2.2, zorder=order, capstyle="round"
            )
        )


def _marks(axes: Axes, cut: Cut, flat: Floats) -> None:
    """Draws a short stroke across every bond that some fragment cuts."""
    from matplotlib.collections import LineCollection

    ends = {
        (min(h, g), max(h, g))
        for f in cut.fragments
        for h, g in zip(f.host.tolist(), f.replaced.tolist(), strict=True)
    }
    if not ends:
        return
    pairs = np.array(sorted(ends))
    begin, end = flat[pairs[:, 0], :2], flat[pairs[:, 1], :2]
    middle, along = 0.5 * (begin + end), end - begin
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = 0.32 * np.stack([-along[:, 1], along[:, 0]], axis=1) / length
    strokes = np.stack([middle - across, middle + across], axis=1)
    axes.add_collection(
        LineCollection(
            list(strokes), colors="black", linewidths=1.3, zorder=5, label=f"{len(pairs)} cut bonds"
        )
    )


def _names(axes: Axes, topology: Topology, flat: Floats) -> None:
    """Writes each name where there is most room around its alpha carbon."""
    from matplotlib.colors import to_rgb
    from matplotlib.patheffects import withStroke

    if len(topology.residues) > 60:
        return
    span = np.ptp(flat[:, :2], axis=0).max()
    taken = [tuple(xy) for xy in flat[:, :2]]
    angles = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rings = np.concatenate([radius * span * ring for radius in (0.04, 0.06, 0.09)])
    for index, residue in enumerate(topology.residues):
        unit = residue.alpha if residue.alpha is not None else residue.units[0]
        anchor = flat[max(topology.units[unit].atoms, key=topology.atomic_numbers.__getitem__), :2]
        spots = anchor + rings
        free = np.min(np.linalg.norm(spots[:, None] - np.array(taken)[None], axis=2), axis=1)
        room = np.minimum(free, 0.05 * span)
        best = spots[int(np.argmax(room - 0.2 * np.linalg.norm(rings, axis=1)))]
        taken += [tuple(best)] * 2
        colour = 0.75 * np.array(to_rgb(_PALETTE[index % len(_PALETTE)]))
        x, y = best
        axes.text(
            x, y, f"{_LETTERS.get(residue.name, residue.name)}{index}", fontsize=9, ha="center",
            va="center", weight="bold", color=colour, zorder=6,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip


def _shares(figure: Figure, axes: Axes, cut: Cut) -> None:
    residues = cut.topology.residues
    shares = cut.coverage
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, origin="upper")
    step = max(1, len(residues) // 30)
    where = np.arange(0, len(residues), step)
    labels = [f"{residues[k].name} {k}" for k in where]
    axes.set_xticks(where, labels, rotation=90, fontsize=8)
    axes.set_yticks(where, labels, fontsize=8)
    if len(residues) <= 16:
        for i, j in np.argwhere(shares > 5e-3):
            text = "1" if shares[i, j] > 0.995 else f"{shares[i, j]:.2f}".lstrip("0")
            axes.text(
                j, i, text, fontsize=7, ha="center", va="center",
                color="white" if shares[i, j] > 0.6 else "black",
            )  # fmt: skip
    axes.set_title("share of their atom pairs that fragments have together")
    figure.colorbar(image, ax=axes, shrink=0.75)
