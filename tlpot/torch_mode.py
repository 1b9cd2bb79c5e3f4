"""Torch as tlpot means it, whatever modes the caller has switched on around a call.

Autocast would round a network's products to half precision and shift its energies by tens of
meV; tensors made in inference mode cannot be differentiated; a default device, such as that of
``with torch.device("meta")``, would scatter a model over devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

_AUTOCAST = ("cpu", "cuda", "mps", "xpu")


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


def usable(tensor: Tensor) -> Tensor:
    """Returns a tensor that may be differentiated: a copy of one made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor
