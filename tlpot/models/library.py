"""Models by name: those that ship with tlpot."""

from __future__ import annotations

import os
from pathlib import Path

from tlpot.errors import ModelFileError, nearest

LIBRARY = Path(__file__).parent.parent / "library"
SUFFIX = ".safetensors"


def library_names() -> list[str]:
    """Returns the names of the shipped models."""
    return sorted(path.stem for path in LIBRARY.glob(f"*{SUFFIX}"))


def library_file(source: str | os.PathLike[str]) -> Path:
    """Returns the file that a path or a name stands for; a path that exists wins.

    Raises:
        ModelFileError: neither a file nor a name; the message lists the names.
    """
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder; expected a model file such as model{SUFFIX}")
    shipped = LIBRARY / f"{source}{SUFFIX}"
    if path.name == str(source) and shipped.is_file():
        return shipped
    raise ModelFileError(
        f"there is no file {str(source)!r} and no shipped model of that name"
        f"{nearest(str(source), library_names())}"
    )
