"""What the composition alone says of a property.

That is linear in the fractions of the elements, or in numbers of atoms. A network starts from it,
as that of energies does from reference energies, and every model must beat it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import DataError

_GRID = np.logspace(-6, 4, 21)
"""Strengths that are tried, in units of a whole structure of one element."""
_FOLDS = 5
_NEWTON = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class CompositionFit:
    """Coefficients of the elements.

    Attributes:
        shifts: [n_elements]; the mean for an element that does not occur.
        strength: of the ridge, chosen by leaving out folds.
        before: mean absolute residual without the shifts.
        after: with them, on the same structures.
    """

    shifts: NDArray[np.float64]
    strength: float
    before: float
    after: float


def fit_composition(
    composition: NDArray[np.float64],
    residuals: NDArray[np.float64],
    *,
    seed: int = 0,
) -> CompositionFit:
    """Fits residuals ≈ composition · shifts; the shifts are drawn towards their mean.

    Ridge regression (Hoerl and Kennard, doi:10.1080/00401706.1970.10488634) about a constant: the
    same for every atom. The strength is the best of a grid on five folds that were left out.

    Args:
        composition: [n, n_elements], fractions of the elements, or numbers of atoms where the
            property is extensive.
        residuals: [n].
        seed: of the folds.

    Raises:
        DataError: there is nothing to fit to, or a residual is no number.
    """
    _check(residuals)
    atoms = composition.sum(axis=1)

    def solve(rows: NDArray[np.bool_], strengths: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y, n = composition[rows], residuals[rows], atoms[rows]
        mean = float(n @ y) / float(n @ n)
        values, vectors = np.linalg.eigh(x.T @ x)
        projected = vectors.T @ (x.T @ (y - n * mean))
        shrunk = projected[:, None] / (np.maximum(values, 0.0)[:, None] + strengths)
        return mean + vectors @ shrunk

    scale = float(np.mean(atoms**2))
    fold = np.random.default_rng([seed, 7]).permutation(len(residuals)) % _FOLDS
    losses = np.zeros(len(_GRID))
    if len(residuals) >= 2 * _FOLDS:
        for k in range(_FOLDS):
            left = fold == k
            found = composition[left] @ solve(~left, _GRID * scale)
            losses += np.square(residuals[left][:, None] - found).sum(axis=0)
    best = len(_GRID) - 1 - int(np.argmin(losses[::-1]))
    shifts = solve(np.ones(len(residuals), dtype=bool), _GRID[[best]] * scale)[:, 0]
    return CompositionFit(
        shifts=shifts,
        strength=float(_GRID[best]),
        before=float(np.abs(residuals).mean()),
        after=float(np.abs(residuals - composition @ shifts).mean()),
    )


def fit_odds(
    composition: NDArray[np.float64],
    labels: NDArray[np.float64],
    offset: NDArray[np.float64],
    *,
    seed: int = 0,
) -> CompositionFit:
    """Fits the log-odds of yes as offset + composition · shifts, by penalised likelihood.

    Logistic regression with a ridge about a constant, solved by Newton's method (Hastie, Tibshirani
    and Friedman, The Elements of Statistical Learning, section 4.4.1,
    doi:10.1007/978-0-387-84858-7).

    Args:
        composition: [n, n_elements], fractions of the elements.
        labels: [n], 0 or 1.
        offset: [n], log-odds that are known already.
        seed: of the folds.

    Raises:
        DataError: there is nothing to fit to.
    """
    _check(labels)

    def solve(rows: NDArray[np.bool_], strength: float) -> NDArray[np.float64]:
        x, y, known = composition[rows], labels[rows], offset[rows]
        # half a structure of each kind keeps the odds finite where all are alike
        share = (y.sum() + 0.5) / (len(y) + 1.0)
        mean = np.log(share / (1.0 - share)) - known.mean()
        weights = np.full(composition.shape[1], mean)
        for _ in range(_NEWTON):
            odds = 1.0 / (1.0 + np.exp(-np.clip(known + x @ weights, -30.0, 30.0)))
            slope = x.T @ (odds - y) + strength * (weights - mean)
            curvature = (x * (odds * (1.0 - odds))[:, None]).T @ x
            curvature += strength * np.eye(len(weights))
            step = np.linalg.solve(curvature, slope)
            weights = weights - step
            if np.abs(step).max() < 1e-9:
                break
        return weights

    def surprise(rows: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
        z = np.clip(offset[rows] + composition[rows] @ weights, -30.0, 30.0)
        return float((np.log1p(np.exp(-z)) + (1.0 - labels[rows]) * z).sum())

    strengths = np.logspace(-2, 3, 11)
    fold = np.random.default_rng([seed, 7]).permutation(len(labels)) % _FOLDS
    best = strengths[-1]
    if len(labels) >= 2 * _FOLDS:
        losses = [
            sum(surprise(fold == k, solve(fold != k, s)) for k in range(_FOLDS)) for s in strengths
        ]
        best = strengths[int(np.argmin(losses))]
    everything = np.ones(len(labels), dtype=bool)
    weights = solve(everything, float(best))
    zeros = np.zeros_like(weights)
    return CompositionFit(
        shifts=weights,
        strength=float(best),
        before=surprise(everything, zeros) / len(labels),
        after=surprise(everything, weights) / len(labels),
    )


def _check(values: NDArray[np.float64]) -> None:
    if not len(values):
        raise DataError("no training structure has a value of the property")
    if not np.isfinite(values).all():
        raise DataError("a value of the property is NaN or infinite")
