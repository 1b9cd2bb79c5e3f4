"""Files and folders that the keyword arguments of a calculator name."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_MOST_FILES = 1000
_MOST_BYTES = 1 << 33
"""Of a folder that is looked into; what is larger is hardly one of weights."""

_WRITTEN = {
    "work", "workdir", "scratch", "scratchdir", "tmp", "temp", "tmpdir", "tempdir", "out", "output",
    "outdir", "outfile", "log", "logs", "logdir", "logfile", "run", "rundir", "cache",
}  # fmt: skip
"""Words in the name of an argument for what the calculator writes."""

FileStates = Mapping[str, tuple[int, int]]
"""Time of change in ns and size of files by their paths."""


def with_hashes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings with the content of files and folders instead of their places.

    Of a folder the names and the content of all files count, unless the argument's name says that
    the calculator writes there (``directory``, ``scratch_dir``), or it is very large.
    """
    return {key: _with_hash(value, _is_written(key)) for key, value in settings.items()}


def with_home(value: Any) -> Any:
    """Returns a value with ``~`` written out in the paths of what exists, in lists, too."""
    if isinstance(value, list | tuple):
        return [with_home(each) for each in value]
    path = _place(value)
    return str(path) if path is not None and value.startswith("~") else value


def file_states(settings: Mapping[str, Any]) -> FileStates:
    """Returns what tells that files behind settings are others, but for those that are written."""
    states = {}
    for key, value in settings.items():
        places = value if isinstance(value, list | tuple) else [value]
        for path in [] if _is_written(key) else filter(None, map(_place, places)):
            for file in _inside(path) if path.is_dir() else [path]:
                state = file.stat()
                states[str(file)] = (state.st_mtime_ns, state.st_size)
    return states


def _is_written(key: str) -> bool:
    return key in ("directory", "label") or not _WRITTEN.isdisjoint(key.lower().split("_"))


def _place(value: Any) -> Path | None:
    """Returns the file or folder that a value names; a bare word is no name of a folder."""
    if not isinstance(value, str) or not value:
        return None
    try:
        path = Path(value).expanduser()
        found = path.is_file() or (path.is_dir() and (path.is_absolute() or os.sep in value))
    except (OSError, ValueError, RuntimeError):  # no path at all
        return None
    return path if found else None


def _with_hash(value: Any, written: bool) -> Any:
    if isinstance(value, list | tuple):
        return [_with_hash(each, written) for each in value]
    path = _place(value)
    if path is None:
        return value
    if path.is_file():
        try:
            return f"{path.name} sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        except OSError:
            return value
    files = [] if written else _inside(path)
    if not files:
        return path.name if path.is_absolute() else value
    found = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        found.update(f"{file.relative_to(path).as_posix()} {content}\n".encode())
    return f"{path.name} sha256:{found.hexdigest()}"


def _inside(folder: Path) -> list[Path]:
    """Returns the files of a folder in order; none if they are many or large."""
    try:
        files = sorted(itertools.islice(_visible(folder), _MOST_FILES + 1))
        if len(files) > _MOST_FILES or sum(file.stat().st_size for file in files) > _MOST_BYTES:
            return []
    except OSError:
        return []
    return files


def _visible(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__"]
        yield from (
            path for name in names if name[0] != "." and (path := Path(root, name)).is_file()
        )
