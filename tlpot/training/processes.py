"""One training shared by several processes, and polite interruption.

A global batch is divided among the processes; each sums its errors, the counts are added up
first, so that the sum of the local gradients is exactly the gradient of the global loss. The
gradients are added by one explicit call rather than by torch's DistributedDataParallel, whose
hooks fire during the backward pass that makes the forces and do not expect a second one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Interrupt:
    """While entered, the first SIGINT or SIGTERM sets `requested`; a second one is obeyed at once.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Processes:
    """This process's place among those that share the training.

    Attributes:
        rank: 0 writes files and prints.
        world_size: how many there are.
        local_rank: which GPU of its machine this process uses.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def add(self, tensor: Tensor) -> Tensor:
        """Adds up a tensor over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def add_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Adds up the gradients of the weights that move, those without one counting as zero.

        A batch may leave out a level of theory, and a process may have no frame of it; the
        optimizer takes the same step for either number of processes only if both mean zero.
        """
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        if self.world_size == 1:
            return
        flat = torch.cat([p.grad.reshape(-1) for p in weights if p.grad is not None])
        dist.all_reduce(flat)
        for weight, part in zip(weights, flat.split([p.numel() for p in weights]), strict=True):
            weight.grad = part.view_as(weight).clone()


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Joins the processes started by ``torchrun``; a plain launch is one process.

    Uses NCCL where there is CUDA, gloo elsewhere.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Processes()
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Processes(
            rank=dist.get_rank(),
            world_size=world_size,
            local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        )
    finally:
        dist.destroy_process_group()
