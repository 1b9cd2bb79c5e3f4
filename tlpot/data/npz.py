"""NumPy archives: arrays in one file, loaded when opened."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from tlpot.data.store import MemoryStore, Section
from tlpot.errors import DataError, nearest


def read_npz(path: Path, numbers: str, coordinates: str) -> MemoryStore:
    """Reads an archive as one section.

    Args:
        path: the file.
        numbers: name of the array of atomic numbers.
        coordinates: name of the array of positions.

    Raises:
        DataError: no such file, not an archive, truncated, or an array is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is not a complete npz archive of plain arrays ({error})"
        ) from error
    for key in (numbers, coordinates):
        if key not in columns:
            raise DataError(f"{path}: no array {key!r}{nearest(key, columns)}")
    section = Section(
        group=None, label=path.name, shapes={name: a.shape for name, a in columns.items()}
    )
    return MemoryStore(path, [section], [columns])
