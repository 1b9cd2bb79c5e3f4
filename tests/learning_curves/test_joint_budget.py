"""Closed forms against a search over a fine grid."""

import numpy as np
import pytest

from tlpot.learning_curves.joint_budget import best_split, cheapest_labels

LAWS = [(np.log(900), 0.5, 0.3, 5.0), (np.log(50), 0.2, 0.8, 0.0), (np.log(400), 0.7, 0.05, 2.0)]


def error(law, high, low):
    log_d, alpha, beta, floor = law
    return np.exp(log_d - alpha * np.log(high) - beta * np.log(low)) + floor


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("have", [(0, 0), (300, 0), (0, 40_000)])
def test_the_best_split_beats_all_others(law, have):
    budget, ratio = 50_000.0, 100.0
    high, low = best_split(np.array([law]), budget, ratio, have_high=have[0], have_low=have[1])
    spent = ratio * (high[0] - have[0]) + low[0] - have[1]
    assert spent == pytest.approx(budget)
    assert high[0] >= have[0] - 1e-9
    assert low[0] >= have[1] - 1e-9
    others = np.linspace(0.001, 0.999, 999) * budget / ratio
    tried = error(law, have[0] + others, have[1] + budget - ratio * others)
    assert error(law, high[0], low[0]) <= tried.min() * (1 + 1e-9)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("have", [(0, 0), (300, 0), (0, 40_000)])
def test_the_cheapest_labels_reach_the_target_and_nothing_is_cheaper(law, have):
    target, ratio = 10.0, 100.0
    high, low = cheapest_labels(
        np.array([law]), target, ratio, have_high=have[0], have_low=have[1]
    )  # fmt: skip
    found = error(law, high[0], low[0])
    grid_high = np.geomspace(max(have[0], 1), 1e9, 4000)
    grid_low = np.exp((law[0] - np.log(target - law[3]) - law[1] * np.log(grid_high)) / law[2])
    grid_low = np.maximum(grid_low, max(have[1], 1))
    cost = ratio * grid_high + grid_low
    assert ratio * high[0] + low[0] <= cost.min() * (1 + 1e-6)
    at_bounds = high[0] == max(have[0], 1) and low[0] == max(have[1], 1)
    assert found == pytest.approx(target) or (at_bounds and found < target)


def test_the_balance_of_prices():
    high, low = best_split(np.array([LAWS[0]]), 1e6, 1000.0)
    assert low[0] / high[0] == pytest.approx(1000.0 * 0.3 / 0.5)
    high, low = cheapest_labels(np.array([LAWS[0]]), 10.0, 1000.0)
    assert low[0] / high[0] == pytest.approx(1000.0 * 0.3 / 0.5)


def test_a_target_below_the_floor_is_never_reached():
    high, low = cheapest_labels(np.array(LAWS), 3.0, 100.0)
    assert np.isinf(high[0])
    assert np.isinf(low[0])
    assert np.isfinite(high[1:]).all()


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.3), (0.5, 0.0)])
def test_labels_that_do_not_help_are_not_bought(alpha, beta):
    high, low = cheapest_labels(np.array([[np.log(100), alpha, beta, 0.0]]), 10.0, 100.0)
    assert (high if alpha == 0 else low)[0] == 1.0
    assert 100 * high[0] ** -alpha * low[0] ** -beta == pytest.approx(10.0)
