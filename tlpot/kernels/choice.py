"""Which implementation of the sums a potential uses."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

import torch

from tlpot.errors import ConfigError, KernelError, TLPotWarning, nearest
from tlpot.graph import SegmentSum, segment_sum, segment_sum_backend
from tlpot.kernels.build import library
from tlpot.kernels.check import check
from tlpot.kernels.structures import MAX_DEGREE


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernels:
    """An implementation of neighbour sums and products.

    Attributes:
        name: ``auto``, ``compiled``, ``torch`` or ``torch_scatter``.
        segment_sum: the scatter where torch does the sums.
    """

    name: str = "auto"
    segment_sum: SegmentSum = segment_sum

    def compiled(self, device: torch.device, dtype: torch.dtype, degree: int) -> bool:
        """Whether the compiled kernels serve a model up to some degree.

        Raises:
            KernelError: they were asked for by name and cannot serve.
        """
        if self.name in ("torch", "torch_scatter"):
            return False
        reason = None
        if torch.is_autocast_enabled("cpu"):
            reason = "the compiled kernels take no part in autocast"
        elif device.type != "cpu":
            reason = f"the compiled kernels run on the CPU, not on {device.type}"
        elif degree > MAX_DEGREE:
            reason = f"the compiled kernels go to degree {MAX_DEGREE}, the model to {degree}"
        elif dtype not in (torch.float32, torch.float64):
            reason = f"the compiled kernels know float32 and float64, not {dtype}"
        if reason is not None:
            if self.name == "compiled":
                raise KernelError(f"{reason}; use kernels='auto' or kernels='torch'")
            return False
        failure = _failure(dtype)
        if failure is not None and self.name == "compiled":
            raise KernelError(f"{failure}; mend that, or use kernels='torch'")
        return failure is None


def kernels_by_name(name: str) -> Kernels:
    """Returns an implementation.

    Args:
        name: ``auto`` (compiled on a CPU where possible, else torch), ``compiled``, ``torch`` or
            ``torch_scatter``.

    Raises:
        ConfigError: no such implementation.
        MissingExtraError: torch-scatter is not installed.
    """
    names = ("auto", "compiled", "torch", "torch_scatter")
    if name not in names:
        raise ConfigError(f"unknown kernels {name!r}{nearest(name, names)}")
    scatter = segment_sum_backend("torch_scatter") if name == "torch_scatter" else segment_sum
    return Kernels(name=name, segment_sum=scatter)


@functools.cache
def _failure(dtype: torch.dtype) -> str | None:
    """Builds and checks the kernels; returns what is wrong with them, once for each process."""
    try:
        library(dtype)
        check(dtype)
    except KernelError as error:
        warnings.warn(
            f"tlpot runs several times slower than it could: {error}. Mend that (all it takes is a "
            "C++ compiler such as g++), or silence this with kernels='torch'",
            TLPotWarning,
            stacklevel=2,
        )
        return str(error)
    return None
