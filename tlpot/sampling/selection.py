"""Choosing geometries to a budget."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tlpot.fragments.selection import farthest


def scaled(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Features as distances are taken in: each divided by its standard deviation.

    Features that vary by less than 10⁻³ of the most variable one are left out, as they would be
    made of noise.

    Args:
        features: [n, d].

    Returns:
        [n, at most d].
    """
    spread = features.std(axis=0)
    kept = spread > 1e-3 * spread.max(initial=0.0)
    result: NDArray[np.float64] = (features[:, kept] - features[:, kept].mean(0)) / spread[kept]
    return result


def farthest_points(
    rows: NDArray[np.float64], count: int, first: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Picks the row that is farthest from those picked, again and again, see `farthest`.

    Args:
        rows: [n, d].
        count: how many; all if there are fewer.
        first: the row to begin with.

    Returns:
        Indices in order of picking, and the distance of every row to the nearest one picked, [n].
    """
    count = min(count, len(rows))
    if count == 0:
        return np.zeros(0, dtype=np.int64), np.full(len(rows), np.inf)
    more, away = farthest(lambda k: np.linalg.norm(rows - rows[k], axis=1), [first], count - 1)
    return np.array([first, *more], dtype=np.int64), away


def most_uncertain(
    uncertainty: NDArray[np.float64], rows: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Picks unlike geometries among the least certain: farthest points of the top 3 × count.

    Args:
        uncertainty: [n].
        rows: scaled features, [n, d].
        count: how many; all if there are fewer.

    Returns:
        Indices, the least certain first.
    """
    top = np.argsort(-uncertainty, kind="stable")[: 3 * count]
    chosen, _ = farthest_points(rows[top], count, 0)
    return top[chosen].astype(np.int64)
