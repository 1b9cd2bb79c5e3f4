"""What a file holds, in few characters."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tlpot.errors import DataError


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file's content.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
