"""Which frames have the same atoms, so that differences of their energies mean something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def composition_idx(
    sizes: NDArray[np.int64], atomic_numbers: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns the index of each frame's composition, [n_frames].

    Args:
        sizes: [n_frames], atoms in each frame.
        atomic_numbers: [n_atoms], all frames one after the other.
    """
    seen: dict[bytes, int] = {}
    pieces: Sequence[NDArray[np.int64]] = np.split(atomic_numbers, np.cumsum(sizes)[:-1])
    return np.array([seen.setdefault(np.sort(p).tobytes(), len(seen)) for p in pieces])


def centred(values: NDArray[np.float64], group_idx: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns `values` less the mean of their group; NaN for a group of one, which says nothing.

    Args:
        values: [n], not NaN.
        group_idx: [n].
    """
    counts = np.bincount(group_idx, minlength=1)
    means = np.bincount(group_idx, weights=values, minlength=1) / np.maximum(counts, 1)
    return np.where(counts[group_idx] > 1, values - means[group_idx], np.nan)
