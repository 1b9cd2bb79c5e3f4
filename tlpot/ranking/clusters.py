"""Clusters of like structures, for folds that leave out a kind of structure."""

from __future__ import annotations

import numpy as np

from tlpot.data import Dataset, frames_of
from tlpot.neighbors import neighbor_list
from tlpot.numbers import Floats, Ints

RANGE = 5.0
"""Å."""
STEP = 0.25
"""Å, spacing and width of the bins."""
MANY_ELEMENTS = 12


def structural_clusters(dataset: Dataset, indices: Ints, n_clusters: int, seed: int) -> Ints:
    """Returns the cluster of each frame, [n_frames], from 0 without gaps.

    k-means on smeared histograms of the distances between each pair of elements, per atom.
    They depend on no model, so that all models are tested on the same folds. With more than
    `MANY_ELEMENTS` elements pairs are not told apart.

    There are `n_clusters` at most; `seed` is that of the starting points.
    """
    alike = len(dataset.elements) > MANY_ELEMENTS
    pairs = {
        (a, b): 0 if alike else k
        for k, (a, b) in enumerate(
            (a, b) for a in dataset.elements for b in dataset.elements if a <= b
        )
    }
    centers = np.arange(0.5, RANGE + STEP, STEP)
    rows = np.zeros((len(indices), max(pairs.values()) + 1, len(centers)))
    for row, frame in zip(rows, frames_of(dataset, indices, levels=()), strict=True):
        system = frame.system
        found = neighbor_list(system, RANGE, frame.name)
        vectors = system.positions[found.neighbor] - system.positions[found.center]
        vectors = vectors + found.shifts @ system.cell
        distances = np.linalg.norm(vectors, axis=1)
        ends = np.sort(
            system.atomic_numbers[np.stack([found.center, found.neighbor], axis=1)], axis=1
        )
        kind = np.array([pairs[a, b] for a, b in ends.tolist()], dtype=np.int64)
        # fades to zero at the range, where pairs come and go
        fade = np.cos(0.5 * np.pi * distances / RANGE) ** 2
        bumps = fade[:, None] * np.exp(-0.5 * ((distances[:, None] - centers) / STEP) ** 2)
        np.add.at(row, kind, bumps / len(system))
    return kmeans(rows.reshape(len(rows), -1), n_clusters, seed)


def kmeans(rows: Floats, n_clusters: int, seed: int, *, starts: int = 8, steps: int = 100) -> Ints:
    """Returns the cluster of each row: Lloyd's algorithm from k-means++ starting points.

    Arthur and Vassilvitskii, doi:10.5555/1283383.1283494. Of several starts the tightest counts.

    Args:
        rows: [n, d].
        n_clusters: at most; there are no more than different rows.
        seed: of the starting points.
        starts: how many.
        steps: at most, for each start.
    """
    best: tuple[float, Ints] | None = None
    rng = np.random.default_rng(seed)
    for _ in range(starts):
        centers = rows[rng.integers(len(rows))][None]
        while len(centers) < n_clusters:
            squares = _squares(rows, centers).min(axis=1)
            if squares.max() <= 1e-12 * max(float((rows**2).sum(1).max()), 1e-300):
                break
            centers = np.vstack([centers, rows[rng.choice(len(rows), p=squares / squares.sum())]])
        owner = np.full(len(rows), -1)
        for _ in range(steps):
            before, owner = owner, _squares(rows, centers).argmin(axis=1)
            if np.array_equal(before, owner):
                break
            centers = np.stack(
                [
                    rows[owner == k].mean(axis=0) if (owner == k).any() else centers[k]
                    for k in range(len(centers))
                ]
            )
        inertia = float(_squares(rows, centers).min(axis=1).sum())
        if best is None or inertia < best[0]:
            best = inertia, owner
    assert best is not None
    return np.unique(best[1], return_inverse=True)[1].reshape(-1)


def _squares(rows: Floats, centers: Floats) -> Floats:
    """Returns squared distances, [n, n_centers]."""
    cross = rows @ centers.T
    squares = (rows**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1) - 2.0 * cross
    return np.maximum(squares, 0.0)
