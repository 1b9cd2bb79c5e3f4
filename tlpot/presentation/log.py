"""The log of the package, ``logging.getLogger("tlpot")``: what it does without being asked.

Nothing is written unless somebody attaches a handler. At level INFO stands what is to be read
while a job runs, such as the pre-flight report of a training; at DEBUG what goes on inside. What a
user should act upon is a warning (`tlpot.errors.TLPotWarning`), not a line of the log.
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
    """Prints the log, what goes on inside to standard error, and leaves the logger as it was.

    Args:
        level: the least that is written, such as `logging.INFO`.
    """
    handler, before = _Terminal(), logger.level
    logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _Terminal(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stdout if record.levelno == logging.INFO else sys.stderr
        print(record.getMessage(), file=stream, flush=True)
