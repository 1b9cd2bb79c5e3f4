"""The picture of a partition: the structure with its cuts, and which residues meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from tlpot.errors import ConfigError, nearest
from tlpot.jobs import Cut
from tlpot.presentation import add_legend, letter_panels, make_figure
from tlpot.topology import Topology, residue_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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


def partition_figure(cut: Cut, title: str, shown: str | None = None) -> Figure:
    """Returns the figure: the projected structure, and a table of residues that meet.

    Args:
        cut: what to draw.
        title: name of the structure.
        shown: name or number of the fragment whose caps are drawn; None takes one in the middle.

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


def projection(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns positions along the principal axes, the longest first, [n_atoms, 3], Å."""
    centred = positions - positions.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    if len(axes) < 3:
        axes = np.eye(3)
    signs = np.where(np.sum((centred @ axes.T) ** 3, axis=0) < 0, -1.0, 1.0)
    found: NDArray[np.float64] = (centred @ axes.T) * signs
    return found


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


def _bonds(
    axes: Axes,
    topology: Topology,
    flat: NDArray[np.float64],
    colours: NDArray[np.float64],
    inside: NDArray[np.bool_],
) -> None:
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


def _marks(axes: Axes, cut: Cut, flat: NDArray[np.float64]) -> None:
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


def _names(axes: Axes, topology: Topology, flat: NDArray[np.float64]) -> None:
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
