"""The only scatter: sums of rows that belong to the same atom or system."""

from __future__ import annotations

import importlib.util
from typing import Protocol

from torch import Tensor

from tlpot.errors import ConfigError, MissingExtraError, nearest


class SegmentSum(Protocol):
    """Sums rows of `values` [n, ...] into `n_segments` rows by `index` [n]."""

    def __call__(self, values: Tensor, index: Tensor, n_segments: int) -> Tensor:
        """Returns the sums, [n_segments, ...]."""
        ...


def segment_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """Sums rows of `values` [n, ...] into [n_segments, ...]: out[k] = Σ_{index[i]=k} values[i]."""
    out = values.new_zeros((n_segments, *values.shape[1:]))
    return out.index_add(0, index, values)


def segment_sum_backend(name: str) -> SegmentSum:
    """Returns the backend called `name`: ``native`` (index_add) or ``torch_scatter``.

    Raises:
        ConfigError: no such backend.
        MissingExtraError: torch-scatter is not installed.
    """
    if name == "native":
        return segment_sum
    if name == "torch_scatter":
        if importlib.util.find_spec("torch_scatter") is None:
            raise MissingExtraError("torch-scatter", "scatter", "segment_sum='torch_scatter'")
        return torch_scatter_sum
    raise ConfigError(
        f"unknown segment_sum backend {name!r}{nearest(name, ['native', 'torch_scatter'])}"
    )


def torch_scatter_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """The same as `segment_sum`, by torch-scatter's kernel."""
    from torch_scatter import scatter_sum

    total: Tensor = scatter_sum(values, index, dim=0, dim_size=n_segments)
    return total
