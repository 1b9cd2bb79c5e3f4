"""Results on disk, JSON and arrays, so that an interrupted job goes on.

Each file is written in one piece, and is read as it was written or is an error with a remedy.
Results that are known by all they depend on are refused to whoever asks for those of something
else.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlpot.errors import DataError
from tlpot.files import atomic_file, make_folder, write_text

_AGAIN = "delete it to have the result computed again"


def digest(identity: Any, *, digits: int = 64, ascii_only: bool = True) -> str:
    """Returns a hash of plain JSON, equal for equal identities.

    Args:
        identity: all that a result depends on.
        digits: of the hash.
        ascii_only: whether other characters are escaped, which makes other hashes.
    """
    text = json.dumps(identity, sort_keys=True, ensure_ascii=ascii_only)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Writes a JSON file in one step.

    Raises:
        OutputError: it could not be written.
    """
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, default=float) + "\n")


def read_json(path: Path, remedy: str) -> Any:
    """Reads a JSON file that `write_json` wrote; None if there is none.

    Args:
        path: of the file.
        remedy: what to do if it is damaged.

    Raises:
        DataError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); {remedy}") from error


def write_result(path: Path, identity: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Writes a result with what it depends on, see `read_result`.

    Raises:
        OutputError: it could not be written.
    """
    make_folder(path.parent)
    write_json(path, {"identity": dict(identity), **content})


def read_result(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns a result, its identity included, if it is there.

    Raises:
        DataError: the file is damaged, or holds the result of something else.
    """
    content = stored_result(path)
    if content is not None and content["identity"] != as_stored(identity):
        raise DataError(f"{path} holds the result of other settings; {_AGAIN}")
    return content


def stored_result(path: Path) -> dict[str, Any] | None:
    """Returns a result, its identity included, whatever it is of; None if there is none.

    Raises:
        DataError: the file is damaged.
    """
    content: dict[str, Any] | None = read_json(path, _AGAIN)
    if content is None:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("identity"), dict):
        raise DataError(f"{path} is damaged (it is no result of tlpot's); {_AGAIN}")
    return content


def as_stored(content: Any) -> Any:
    """Returns what a JSON file gives back: tuples become lists, and keys text."""
    return json.loads(json.dumps(content))


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike], *, compressed: bool = False) -> None:
    """Writes arrays as an npz file in one step.

    Raises:
        OutputError: it could not be written.
    """
    with atomic_file(path) as temporary, temporary.open("wb") as handle:
        (np.savez_compressed if compressed else np.savez)(handle, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path, names: Iterable[str], remedy: str) -> dict[str, NDArray[Any]] | None:
    """Reads arrays that `write_arrays` wrote; None if there is no file.

    Args:
        path: of the file.
        names: of the arrays.
        remedy: what to do if it is damaged.

    Raises:
        DataError: it is damaged, or lacks an array.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); {remedy}") from error
