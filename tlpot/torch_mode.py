"""Torch as tlpot means it: devices, and modes that the caller has switched on around a call.

Autocast would round a network's products to half precision and shift its energies by tens of
meV; tensors made in inference mode cannot be differentiated; a default device, such as that of
``with torch.device("meta")``, would scatter a model over devices.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from tlpot.errors import ConfigError, TLPotWarning

_AUTOCAST = ("cpu", "cuda", "mps", "xpu")
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@contextmanager
def plain_torch() -> Iterator[None]:
    """A context, and a decorator, without autocast, inference mode and default device.

    Whether gradients are recorded, default dtype and deterministic algorithms stay as they are.
    Nothing is entered that is not needed, because some of these modes slow every call of torch.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            recording = torch.is_grad_enabled()
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.set_grad_enabled(recording))
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """A context in which torch computes with `n` threads; the number before is put back.

    Raises:
        ConfigError: `n` is no number, or less than 1.

    Warns:
        TLPotWarning: several threads, and OpenMP's wait for their work by spinning: once.
    """
    if not isinstance(n, int) or n < 1:
        raise ConfigError(f"threads (--threads) is {n!r}, expected a whole number, 1 or more")
    if n > 1 and os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE":
        warnings.warn(
            f"{n} threads wait for each other by spinning, which on shared cores slows small "
            "models many times; set the environment variable OMP_WAIT_POLICY=PASSIVE before "
            "torch is imported (the command line does), or take threads=1",
            TLPotWarning,
            stacklevel=1,
        )
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usable(tensor: Tensor) -> Tensor:
    """Returns a tensor that may be differentiated: a copy of one made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


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


def choose_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """Returns the precision of a name, ``float32`` or ``float64``; None for that of a file.

    Raises:
        ConfigError: another one.
    """
    if dtype is None:
        return None
    for name, precision in _DTYPES.items():
        if dtype in (name, precision):
            return precision
    raise ConfigError(f"dtype is {dtype!r}, expected {' or '.join(_DTYPES)}")


@contextmanager
def objects_set_aside() -> Iterator[None]:
    """Lets the garbage collector pass over what is there already, such as torch's modules.

    They are a few hundred thousand objects, and each full collection of a job would look at all of
    them again. Afterwards they are looked at as before. Where somebody has set objects aside
    already (`gc.freeze`), nothing is done, as these could not be told from the others any more.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
