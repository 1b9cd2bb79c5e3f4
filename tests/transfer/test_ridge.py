"""The closed form against numpy's least squares, and folds."""

import numpy as np
import pytest

from tlpot.errors import DataError
from tlpot.transfer import Moments, assign_folds, fit_ridge
from tlpot.transfer.ridge import GRID


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(60, 7))


def folded(rows, targets, weights=1.0):
    weights = np.broadcast_to(weights, targets.shape)
    folds = np.arange(len(rows)) % 5
    return [Moments.of(rows[folds == k], targets[folds == k], weights[folds == k])
            for k in range(5)]  # fmt: skip


def test_the_solution_is_that_of_the_stacked_least_squares_problem(rows):
    rng = np.random.default_rng(1)
    targets, weights = rng.normal(size=60), rng.uniform(0.1, 2.0, size=60)
    strength = 0.3
    fit = fit_ridge(folded(rows, targets, weights), strength)
    root = np.sqrt(weights)
    penalty = np.sqrt(strength * np.trace((rows * weights[:, None]).T @ rows) / 7)
    stacked = np.vstack([rows * root[:, None], penalty * np.eye(7)])
    expected, *_ = np.linalg.lstsq(stacked, np.append(targets * root, np.zeros(7)), rcond=None)
    np.testing.assert_allclose(fit.weights, expected, rtol=1e-9, atol=1e-12)
    assert np.isnan(fit.ratio)


def test_the_error_left_out_is_that_of_refitting_without_the_fold(rows):
    targets = rows @ np.arange(7.0) + 3.0 * np.random.default_rng(2).normal(size=60)
    fit = fit_ridge(folded(rows, targets))
    losses = []
    for strength in GRID:
        loss = 0.0
        for k in range(5):
            out = np.arange(60) % 5 == k
            w = fit_ridge([Moments.of(rows[~out], targets[~out])], strength).weights
            loss += ((targets[out] - rows[out] @ w) ** 2).sum()
        losses.append(loss)
    assert fit.strength == GRID[int(np.argmin(losses))]
    assert fit.ratio == pytest.approx(min(losses) / (targets @ targets), rel=1e-8)


def test_noise_is_not_fitted_and_a_law_is(rows):
    noise = np.random.default_rng(3).normal(size=60)
    nothing = fit_ridge(folded(rows[:, :1] + 100 * rows, noise))
    assert nothing.ratio > 0.9
    law = fit_ridge(folded(rows, rows @ np.arange(7.0)))
    assert law.ratio < 1e-15
    np.testing.assert_allclose(law.weights, np.arange(7.0), atol=1e-6)


def test_a_removed_column_has_no_weight(rows):
    scale = np.array([1, 1, np.inf, 1, 1, 1, 1.0])
    folds = [m.divided(scale) for m in folded(rows, rows.sum(axis=1))]
    fit = fit_ridge(folds)
    assert (fit.weights / scale)[2] == 0.0
    assert np.isfinite(fit.weights).all()


def test_one_fold_cannot_choose(rows):
    with pytest.raises(DataError, match="one fold"):
        fit_ridge([Moments.of(rows, rows[:, 0])])


def test_groups_stay_whole_and_folds_are_even():
    groups = np.repeat(np.arange(11), [30, 1, 2, 3, 4, 5, 6, 7, 8, 9, 25])
    folds = assign_folds(groups, 4, seed=0)
    assert all(len(np.unique(folds[groups == g])) == 1 for g in range(11))
    counts = np.bincount(folds)
    assert len(counts) == 4
    assert counts.max() == 30  # one group alone
    assert counts.min() >= 20
    assert len(np.bincount(assign_folds(groups[:31], 4, seed=0))) == 2
    again = assign_folds(np.arange(40), 4, seed=1)
    assert (again != assign_folds(np.arange(40), 4, seed=2)).any()
