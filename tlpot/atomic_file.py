"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlpot.errors import OutputError


def make_folder(path: str | os.PathLike[str]) -> None:
    """Makes a folder, with those above it, unless it is there.

    Raises:
        OutputError: it could not be made, or a file is in the way.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror or error}") from error


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is fsynced and renamed to `path`.

    On any failure, a full disk included, the temporary file is removed and an existing
    `path` is left as it was.

    Raises:
        OutputError: the file could not be written (disk full, no such folder, no permission).
    """
    target = Path(path)
    if not target.name or target.is_dir():
        raise OutputError(f"cannot write the file {path}: it is a folder")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(target)
    except OSError as error:
        raise OutputError(
            f"could not write {target}: {error.strerror or error}; nothing was changed. "
            "Check that the folder exists, that you may write there, and that the disk has room."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file, UTF-8, see `atomic_file`.

    Raises:
        OutputError: the file could not be written.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def copy_file(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Copies the content of a file, see `atomic_file`.

    Raises:
        OutputError: `source` could not be read, or the copy could not be written.
    """
    with atomic_file(path) as temporary:
        shutil.copyfile(source, temporary)
