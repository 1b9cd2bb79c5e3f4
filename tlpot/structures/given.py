"""What a job was given as structures."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ase import Atoms

from tlpot.data import Frame
from tlpot.errors import ConfigError


def files_or_atoms(given: object, name: str) -> list[str | os.PathLike[str] | Atoms]:
    """Returns what a job was given as a list: files, ``ase.Atoms``, frames of a dataset.

    Args:
        given: one or several of these.
        name: of the argument, for the message.

    Raises:
        ConfigError: something else.
    """
    parts = [given] if isinstance(given, str | os.PathLike | Atoms | Frame) else given
    if not isinstance(parts, Iterable):
        raise ConfigError(f"{name} is a {type(given).__name__}; {_WANTED}")
    found = [part.system.to_atoms() if isinstance(part, Frame) else part for part in parts]
    for part in found:
        if not isinstance(part, str | os.PathLike | Atoms):
            raise ConfigError(f"{name} has a {type(part).__name__} in it; {_WANTED}")
    return found


_WANTED = "expected files, ase.Atoms or frames of a dataset, one or several"
