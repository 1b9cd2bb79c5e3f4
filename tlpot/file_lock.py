"""Keeping a second process away from a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import IO, Any

from tlpot.errors import TLPotError, TLPotWarning


def lock_file(handle: IO[Any], path: Path, busy: TLPotError, advice: str) -> None:
    """Locks an open file for this process, until it is closed.

    Where there are no locks (on some file systems, with a warning, and on Windows) nothing happens.

    Args:
        handle: open for writing.
        path: what is locked, for the warning.
        busy: raised where another process has the lock.
        advice: what to do without locks.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy from None
    except OSError as error:
        warnings.warn(f"{path} cannot be locked ({error}); {advice}", TLPotWarning, stacklevel=3)
