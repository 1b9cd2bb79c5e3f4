"""Pictures on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING

from tlpot.errors import OutputError
from tlpot.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_FORMATS = (".png", ".pdf", ".svg")


def picture_path(path: str | os.PathLike[str]) -> Path:
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


def letter_panels(panels: Sequence[Axes]) -> None:
    """Puts (a), (b), ... before the titles of the panels of a figure."""
    for letter, axes in zip(ascii_lowercase, panels, strict=False):
        axes.set_title(f"({letter}) {axes.get_title()}", fontsize=10, loc="left")
        axes.set_title("")


def save_picture(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a picture in one step.

    Args:
        figure: the picture.
        path: its ending decides the format.

    Raises:
        OutputError: the file could not be written.
    """
    target = picture_path(path)
    with atomic_file(target) as temporary:
        figure.savefig(temporary, dpi=150, format=target.suffix[1:])


def drawn(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Returns a picture, written to `path` if there is one, see `save_picture`."""
    if path is not None:
        save_picture(figure, path)
    return figure
