"""Choosing some of many geometries of one molecule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
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
    first = [] if n_old else [int(generator.choice(new))]
    more, _ = farthest(
        lambda k: ((features - features[k]) ** 2).sum(axis=1),
        [*range(n_old), *first],
        wanted - len(first),
    )
    return np.sort(np.array([*first, *more], dtype=np.int64))


def farthest(
    distances: Callable[[int], NDArray[np.float64]], taken: Sequence[int], count: int
) -> tuple[list[int], NDArray[np.float64]]:
    """Picks the row that is farthest from all that are taken, again and again.

    T. F. Gonzalez, doi:10.1016/0304-3975(85)90224-5: no other choice covers the rows with less
    than half the radius.

    Args:
        distances: from one row to all, [n]; their squares will do.
        taken: one row or more, to begin with.
        count: how many to pick, no more than are left.

    Returns:
        Indices in order of picking, and the distance of every row to the nearest one taken, [n].
    """
    away = reduce(np.minimum, map(distances, taken))
    left = np.ones(len(away), dtype=bool)
    left[list(taken)] = False
    picked: list[int] = []
    for _ in range(count):
        # equal geometries are at distance 0 all alike, and none is to be taken twice
        k = int(np.where(left, away, -1.0).argmax())
        picked.append(k)
        left[k] = False
        away = np.minimum(away, distances(k))
    return picked, away
