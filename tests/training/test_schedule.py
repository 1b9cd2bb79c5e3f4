"""Learning rates over a training."""

import pytest

from tlpot.training import TrainingSettings
from tlpot.training.optimizer import Schedule


def make(**settings):
    return Schedule(settings=TrainingSettings(**settings))


def test_cosine_rises_falls_and_ends_at_the_floor():
    schedule = make(warmup=0.1, floor=0.01)
    rates = [schedule.rate(k / 1000) for k in range(1001)]
    top = rates.index(max(rates))
    assert rates[0] == 0.0
    assert rates[50] == pytest.approx(0.5, rel=0.02)
    assert top == 100
    assert max(rates) <= 1.0
    assert all(a > b for a, b in zip(rates[top:], rates[top + 1 :], strict=False))
    assert rates[-1] == pytest.approx(0.01)


def test_no_warm_up_starts_at_the_peak():
    assert make(warmup=0.0).rate(0.0) == 1.0


def test_constant():
    schedule = make(schedule="constant", warmup=0.1)
    assert [schedule.rate(x) for x in (0.05, 0.1, 0.5, 1.0)] == [0.5, 1.0, 1.0, 1.0]


def test_plateau_waits_and_stops_at_the_floor():
    schedule = make(
        schedule="plateau", plateau_factor=0.5, plateau_patience=2, floor=0.2, warmup=0.0
    )
    rates = []
    for loss in [3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]:
        schedule.validated(loss)
        rates.append(schedule.rate(0.5))
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]


def test_other_schedules_take_no_notice_of_validations():
    schedule = make(schedule="constant")
    for _ in range(100):
        schedule.validated(1.0)
    assert schedule.rate(0.5) == 1.0
