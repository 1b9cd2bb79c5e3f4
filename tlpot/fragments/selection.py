"""Choosing some of many geometries of one molecule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import ConfigError, nearest

Selection = Literal["farthest", "random"]


def inverse_distances(
    positions: NDArray[np.float64], colours: Sequence[int]
) -> NDArray[np.float64]:
    """Describes geometries, [m, n, 3] to [m, n (n − 1) / 2], 1/Å.

    These are inverse distances, sorted among the pairs of atoms of equal colours, so that atoms
    of one colour may be exchanged.
    """
    i, j = np.triu_indices(positions.shape[1], 1)
    values = 1.0 / np.linalg.norm(positions[:, i] - positions[:, j], axis=2)
    colour = np.asarray(colours, dtype=np.int64)
    pairs = np.sort(np.stack([colour[i], colour[j]], axis=1), axis=1)
    _, group = np.unique(pairs, axis=0, return_inverse=True)
    group = np.broadcast_to(group.reshape(-1), values.shape)
    order = np.lexsort((values, group), axis=1)
    return np.take_along_axis(values, order, axis=1)


def choose(
    features: NDArray[np.float64],
    count: int,
    *,
    how: Selection = "farthest",
    seed: int = 0,
    n_old: int = 0,
) -> NDArray[np.int64]:
    """Returns which geometries to take, ascending.

    Args:
        features: [m, n_features], one row for each geometry.
        count: how many, at most, with the old ones.
        how: ``farthest`` takes, again and again, the one that is farthest from all taken;
            ``random`` any.
        seed: of the random choice, and of the first geometry otherwise.
        n_old: the first so many rows are taken already; they are not returned.

    Raises:
        ConfigError: no such way, or a count below 1.
    """
    if how not in ("farthest", "random"):
        raise ConfigError(f"select is {how!r}{nearest(how, ('farthest', 'random'))}")
    if count < 1:
        raise ConfigError(f"the number of geometries of a kind is {count}, expected 1 or more")
    new = np.arange(n_old, len(features))
    wanted = min(max(count - n_old, 0), len(new))
    if wanted == len(new):
        return new
    generator = np.random.default_rng(seed)
    if how == "random":
        return np.sort(generator.permutation(new)[:wanted])
    gaps = np.full(len(features), np.inf)
    for row in features[:n_old]:
        gaps = np.minimum(gaps, ((features - row) ** 2).sum(axis=1))
    gaps[:n_old] = -1.0
    chosen: list[int] = []
    for _ in range(wanted):
        k = int(generator.choice(new)) if np.isinf(gaps).all() else int(np.argmax(gaps))
        chosen.append(k)
        gaps = np.minimum(gaps, ((features - features[k]) ** 2).sum(axis=1))
        gaps[k] = -1.0
    return np.sort(np.array(chosen, dtype=np.int64))
