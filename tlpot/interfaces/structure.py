"""A structure as a user names it: a file, or one of ASE's molecules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms

from tlpot.errors import DataError, nearest


def read_structure(name: str) -> Atoms:
    """Returns the last structure of a file, or an ASE molecule such as ``CH3CH2OH``.

    Args:
        name: path in any format that ASE reads, or a name in ASE's G2 collection.

    Raises:
        DataError: neither a file nor such a name, or ASE could not read the file.
    """
    from ase.build import molecule
    from ase.collections import g2
    from ase.io import read

    path = Path(name)
    if not path.exists():
        if name in g2.names:
            return molecule(name)
        raise DataError(
            f"there is no file {name!r} and no ASE molecule of that name{_similar(name)}"
        )
    try:
        return read(path, index=-1)  # type: ignore[return-value]
    except Exception as error:  # every reader of ASE has its own
        raise DataError(f"ASE could not read {path}: {error or type(error).__name__}") from error


def read_frames(name: str) -> list[Atoms]:
    """Returns all structures of a file, or an ASE molecule; see `read_structure`.

    Raises:
        DataError: see `read_structure`; or the file has no structures, or those of several
            molecules.
    """
    path = Path(name)
    if not path.exists():
        return [read_structure(name)]
    frames = read_all(path)
    for k, frame in enumerate(frames):
        if not np.array_equal(frame.numbers, frames[0].numbers):
            raise DataError(
                f"{path}: frame {k} has other atoms than frame 0 ({frame.get_chemical_formula()}, "
                f"not {frames[0].get_chemical_formula()}, or another order); give the frames of "
                "one molecule"
            )
    return frames


def read_all(path: Path) -> list[Atoms]:
    """Returns all structures of a file, whatever they are.

    Raises:
        DataError: ASE could not read the file, or it has no structures.
    """
    from ase.io import iread

    try:
        frames = list(iread(path, index=":"))
    except Exception as error:  # every reader of ASE has its own
        raise DataError(f"ASE could not read {path}: {error or type(error).__name__}") from error
    if not frames:
        raise DataError(f"{path} holds no structures")
    return frames


def _similar(name: str) -> str:
    from ase.collections import g2

    hint = nearest(name, g2.names)
    return hint.partition(" (valid")[0] if "did you mean" in hint else ""
