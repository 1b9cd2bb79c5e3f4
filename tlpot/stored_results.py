"""Results on disk that are known by all they depend on, so that an interrupted job goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlpot.errors import DataError
from tlpot.files import make_folder, write_text


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
    again = "delete it to have the result computed again"
    content = read_json(path, again)
    if content is None:
        return None
    if not isinstance(content, dict) or "identity" not in content:
        raise DataError(f"{path} is damaged (it is no result of tlpot's); {again}")
    if content["identity"] != json.loads(json.dumps(identity)):
        raise DataError(f"{path} holds the result of other settings; {again}")
    return content
