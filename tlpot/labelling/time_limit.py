"""A limit of time for a calculation in this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from tlpot.errors import ConfigError

AGAIN = 1.0
"""s after which a program that has swallowed the exception gets another."""


class OutOfTimeError(RuntimeError):
    """A calculation took too long. Pipes raise ``TimeoutError`` for other reasons."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Ends what runs inside with an exception; what does not come back to Python runs on till then.

    Args:
        seconds: by the clock; None for no limit.

    Raises:
        OutOfTimeError: it took longer.
        ConfigError: this is not the main thread, or the system has no such signal.
    """
    if seconds is None:
        yield
        return
    check_time_limit(seconds)

    def expire(*_: object) -> NoReturn:
        raise OutOfTimeError(f"took longer than {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, expire)
    before = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *before)


def check_time_limit(seconds: float | None) -> None:
    """Checks that there can be such a limit in this thread.

    Raises:
        ConfigError: there cannot.
    """
    if seconds is None:
        return
    if not seconds > 0:
        raise ConfigError(f"timeout is {seconds!r}; expected seconds above 0")
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError(
            "timeout works in the main thread of a process only, and Dask's workers use others; "
            "leave it out, or take workers=N (--workers)"
        )
    if not hasattr(signal, "setitimer"):
        raise ConfigError("timeout needs the alarm signal of Unix; leave it out")
