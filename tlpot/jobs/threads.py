"""The number of torch's threads while a job runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tlpot.errors import ConfigError


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Sets the number of threads in a context, and puts it back.

    Raises:
        ConfigError: less than one.
    """
    if count < 1:
        raise ConfigError(f"threads is {count}, expected 1 or more")
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
