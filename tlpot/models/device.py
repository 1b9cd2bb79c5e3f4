"""Where a model runs."""

from __future__ import annotations

import torch

from tlpot.errors import ConfigError


def choose_device(name: str | torch.device | None = None) -> torch.device:
    """Returns the device called `name`; None means CUDA if there is one, else the CPU.

    Raises:
        ConfigError: no such kind of device, or none of it here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(name)!r} cannot be used: {reason}") from error
    return device
