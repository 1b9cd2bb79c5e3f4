"""Ridge regression in closed form, from sums that can be gathered batch by batch.

w = (Σ x xᵀ + λ 1)⁻¹ Σ x y (Hoerl and Kennard, doi:10.1080/00401706.1970.10488634). Rows enter
by their products only, so any number of them takes the memory of one matrix for each fold, and
the error on a fold that was left out comes from the same matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import DataError

GRID = np.logspace(-12, 6, 37)
"""Strengths λ that are tried, as multiples of the mean diagonal of Σ x xᵀ; the last is nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """Sums over rows x with targets y and weights v.

    Attributes:
        gram: Σ v x xᵀ, [n, n].
        cross: Σ v x y, [n].
        square: Σ v y².
    """

    gram: NDArray[np.float64]
    cross: NDArray[np.float64]
    square: float

    @classmethod
    def zero(cls, n: int) -> Moments:
        """Returns the sums over no rows."""
        return cls(gram=np.zeros((n, n)), cross=np.zeros(n), square=0.0)

    @classmethod
    def of(
        cls,
        rows: NDArray[np.float64],
        targets: NDArray[np.float64],
        weights: NDArray[np.float64] | float = 1.0,
    ) -> Moments:
        """Returns the sums over rows [n_rows, n] with targets [n_rows] and weights [n_rows]."""
        root = np.sqrt(np.broadcast_to(np.asarray(weights, dtype=np.float64), targets.shape))
        x, y = rows * root[:, None], targets * root
        return cls(gram=x.T @ x, cross=x.T @ y, square=float(y @ y))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            gram=self.gram + other.gram,
            cross=self.cross + other.cross,
            square=self.square + other.square,
        )

    def divided(self, scale: NDArray[np.float64]) -> Moments:
        """Returns the sums for rows divided by `scale` [n]."""
        inverse = 1.0 / scale
        return Moments(
            gram=self.gram * inverse[:, None] * inverse,
            cross=self.cross * inverse,
            square=self.square,
        )

    def solve(self, strengths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the weights for each strength, [n, n_strengths]."""
        values, vectors = np.linalg.eigh(self.gram)
        # rounding leaves eigenvalues just below zero, which a small strength would not outweigh
        values = np.maximum(values, 0.0)
        absolute = strengths * max(float(np.trace(self.gram)) / len(values), 1e-300)
        shrunk = (vectors.T @ self.cross)[:, None] / (values[:, None] + absolute)
        return vectors @ shrunk

    def loss(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns Σ v (y − x·w)² for weights [n, n_strengths]."""
        fitted = np.einsum("ps,ps->s", weights, self.gram @ weights)
        return self.square - 2.0 * (self.cross @ weights) + fitted


@dataclass(frozen=True, kw_only=True, slots=True)
class RidgeFit:
    """A solution.

    Attributes:
        weights: [n].
        strength: λ as a multiple of the mean diagonal of Σ x xᵀ.
        ratio: loss on the folds that were left out, as a share of the loss without the
            regression; NaN where the strength was given.
    """

    weights: NDArray[np.float64]
    strength: float
    ratio: float


def fit_ridge(folds: Sequence[Moments], strength: float | None = None) -> RidgeFit:
    """Solves for all folds together, with the strength that does best on folds left out.

    Args:
        folds: sums over the rows of each fold.
        strength: to use in place of the best.

    Raises:
        DataError: fewer than two folds to choose a strength with.
    """
    total = sum(folds[1:], start=folds[0])
    ratio = float("nan")
    if strength is None:
        if len(folds) < 2:
            raise DataError(
                "one fold is not enough to choose the strength of the regularisation; give more "
                "frames, or set it with strategy.strength=..."
            )
        losses = np.zeros(len(GRID))
        for k, left_out in enumerate(folds):
            others = [fold for j, fold in enumerate(folds) if j != k]
            weights = sum(others[1:], start=others[0]).solve(GRID)
            losses += left_out.loss(weights)
        # the largest strength among equals: the smallest weights
        best = len(GRID) - 1 - int(np.argmin(losses[::-1]))
        strength, ratio = float(GRID[best]), float(losses[best] / max(total.square, 1e-300))
    weights = total.solve(np.array([strength]))[:, 0]
    return RidgeFit(weights=weights, strength=strength, ratio=ratio)


def assign_folds(groups: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """Puts whole groups into folds of about the same size.

    Args:
        groups: [n_frames], what each frame belongs to; all different to divide frames.
        n_folds: at most; there are no more folds than groups.
        seed: of the order in which groups of one size are dealt.

    Returns:
        [n_frames], the fold of each frame, from 0 without gaps.
    """
    _, members, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order], kind="stable")]
    with_labels = np.zeros(min(n_folds, len(counts)), dtype=np.int64)
    owner = np.zeros(len(counts), dtype=np.int64)
    for group in order:
        owner[group] = int(np.argmin(with_labels))
        with_labels[owner[group]] += counts[group]
    return owner[members.reshape(-1)]
