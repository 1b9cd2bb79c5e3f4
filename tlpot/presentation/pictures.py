"""The way to make, letter and save a figure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import OutputError
from tlpot.files import PathLike, atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Those of Okabe and Ito, which stay apart for colour-blind readers; in their order for lines."""
_FORMATS = (".png", ".pdf", ".svg")


def make_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, *, title: str = "", **options: Any
) -> tuple[Figure, NDArray[np.object_]]:
    """Returns an empty figure and its panels, [rows, columns], which make room for their labels.

    No window is opened and no setting of matplotlib is changed.

    Sizes are in inches; `title` is above all panels; `options` are those of
    `matplotlib.figure.Figure.subplots`.
    """
    from matplotlib.figure import Figure  # takes its time to load

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    for axes in panels.ravel():
        axes.set_prop_cycle(color=COLOURS)
        axes.tick_params(labelsize=8)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set_fontsize(9)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure, panels


def add_legend(axes: Axes, **options: Any) -> None:
    """Adds a legend without a frame, if anything has a label; `options` are matplotlib's."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**{"fontsize": 8, "title_fontsize": 8, "frameon": False, **options})


def picture_path(path: PathLike) -> Path:
    """Returns the path of a picture, if it can be one.

    Raises:
        OutputError: no such folder, or an ending that is no format of pictures.
    """
    target = Path(path)
    if target.suffix not in _FORMATS:
        raise OutputError(f"the picture {target} must end in {', '.join(_FORMATS)}")
    if not target.parent.is_dir():
        raise OutputError(f"the folder {target.parent} does not exist; create it first")
    return target


def letter_panels(panels: Iterable[Axes]) -> None:
    """Puts (a), (b), ... before the titles of the panels of a figure."""
    for letter, axes in zip(ascii_lowercase, panels, strict=False):
        axes.set_title(f"({letter}) {axes.get_title()}", fontsize=10, loc="left")
        axes.set_title("")


def save_picture(figure: Figure, path: PathLike) -> None:
    """Writes a picture in one step, in the format of the ending.

    Raises:
        OutputError: the file could not be written.
    """
    target = picture_path(path)
    with atomic_file(target) as temporary:
        figure.savefig(temporary, dpi=150, format=target.suffix[1:])


def drawn(figure: Figure, path: PathLike | None) -> Figure:
    """Returns a picture, written to `path` if there is one, see `save_picture`."""
    if path is not None:
        save_picture(figure, path)
    return figure
