"""How promising candidates are, and which of them are chosen."""

import numpy as np
import pytest

from tlpot.active_learning.acquisition import DesignTarget, calibration, choose
from tlpot.errors import ConfigError

LABELS = np.array([1.0, 2.0])


def test_expected_improvement_grows_with_prediction_and_uncertainty():
    target = DesignTarget(goal="maximise")
    certain = target.score(np.array([1.5, 2.5, 3.0]), np.full(3, 1e-9), LABELS)
    np.testing.assert_allclose(certain, [0.0, 0.5, 1.0], atol=1e-8)
    unsure = target.score(np.full(3, 1.5), np.array([0.1, 0.5, 2.0]), LABELS)
    assert (np.diff(unsure) > 0).all()
    # E max(x, 0) of a standard normal x
    assert target.score(np.array([2.0]), np.ones(1), LABELS)[0] == pytest.approx(0.398942, abs=1e-6)


def test_to_minimise_is_to_maximise_the_opposite():
    mean, std = np.array([0.2, 1.4, 3.0]), np.array([0.3, 0.1, 2.0])
    low = DesignTarget(goal="minimise").score(mean, std, LABELS)
    high = DesignTarget(goal="maximise").score(-mean, std, -LABELS)
    np.testing.assert_allclose(low, high)


def test_a_window_is_a_probability_and_the_nearest_is_best_far_away():
    target = DesignTarget(goal="window", window=(1.0, 2.0))
    found = target.score(np.array([1.5, 2.0, 50.0, 90.0]), np.array([0.5, 0.1, 0.1, 0.1]), LABELS)
    np.testing.assert_allclose(found[:2], [0.6827, 0.5], atol=1e-4)
    assert found[2] > found[3]
    assert target.best(np.array([0.2, 1.4, 1.9])) == 1.4


@pytest.mark.parametrize(
    ("goal", "window"), [("window", None), ("maximise", (1.0, 2.0)), ("window", (2.0, 1.0))]
)
def test_windows_that_make_no_sense_are_refused(goal, window):
    with pytest.raises(ConfigError, match="window"):
        DesignTarget(goal=goal, window=window)


def test_the_best_are_few_and_those_in_the_window_all():
    values = np.arange(1000.0)
    assert np.flatnonzero(DesignTarget(goal="maximise").wanted(values)).min() == 980
    assert np.flatnonzero(DesignTarget(goal="minimise").wanted(values)).max() == 19
    assert DesignTarget(goal="minimise").wanted(values[:20]).sum() == 5
    assert DesignTarget(goal="window", window=(10, 30)).wanted(values).sum() == 21


def test_polymorphs_wait_for_their_turn():
    score, groups = np.array([9.0, 8.0, 7.0, 1.0]), np.array([0, 0, 0, 1])
    assert choose(score, groups, 3, spread=False, seed=0).tolist() == [0, 1, 2]
    assert choose(score, groups, 3, spread=True, seed=0).tolist() == [0, 3, 1]


def test_equal_scores_are_drawn():
    equal, groups = np.ones(100), np.arange(100)
    drawn = [choose(equal, groups, 5, spread=False, seed=k).tolist() for k in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] != [0, 1, 2, 3, 4]


def test_predictions_made_before_are_judged():
    found = calibration(np.array([1.0, 2.0]), np.array([1.5, 2.1]), np.array([0.4, 0.4]))
    assert found == {"mae": pytest.approx(0.3), "within": 0.5}
