"""The log of the package, ``logging.getLogger("tlpot")``: what it does without being asked.

Nothing is written unless somebody attaches a handler. What a user should act upon is a warning
(`tlpot.errors.TLPotWarning`), not a line of the log.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("tlpot")
logger.addHandler(logging.NullHandler())


@contextmanager
def log_to_terminal(level: int) -> Iterator[None]:
    """Writes the log to standard error, and leaves the logger as it was.

    Args:
        level: the least that is written, such as `logging.INFO`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    before = logger.level
    logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
