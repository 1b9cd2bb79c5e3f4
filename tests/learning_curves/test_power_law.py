"""Laws are recovered from synthetic errors of a known law."""

import numpy as np
import pytest

from tlpot.errors import DataError
from tlpot.learning_curves import Measured, fit_law, power_law
from tlpot.learning_curves.plan import crossover, savings_of

SIZES = (10, 20, 50, 100, 200, 500)


def synthetic(scale=200.0, exponent=0.6, floor=5.0, *, sizes=SIZES, spread=0.0, seeds=3, seed=0):
    """Errors of a known law with log-normal scatter over the seeds."""
    rng = np.random.default_rng(seed)
    return [
        Measured(
            sizes=(n,),
            errors=tuple(
                (scale * n**-exponent + floor) * np.exp(spread * rng.standard_normal(seeds))
            ),
        )
        for n in sizes
    ]


@pytest.mark.parametrize("exponent", [0.1, 0.6, 2.0])
@pytest.mark.parametrize("floor", [0.0, 5.0])
def test_an_exact_law_is_recovered(exponent, floor):
    law = fit_law(synthetic(exponent=exponent, floor=floor, seeds=1))
    assert law.scale.value == pytest.approx(200, rel=1e-3)
    assert law.exponent().value == pytest.approx(exponent, rel=1e-3)
    assert law.floor.value == pytest.approx(floor, abs=0.01)
    assert law.predict(1000) == pytest.approx(200 * 1000**-exponent + floor, rel=1e-3)
    assert law.labels_for(float(law.predict(321.0))).value == pytest.approx(321, rel=1e-4)


def test_units_and_order_do_not_matter():
    data = synthetic(spread=0.1)
    scaled = [Measured(sizes=m.sizes, errors=tuple(1e6 * e for e in m.errors)) for m in data[::-1]]
    a, b = fit_law(data), fit_law(scaled)
    assert b.exponent().value == pytest.approx(a.exponent().value, rel=1e-5)
    assert b.floor.value == pytest.approx(1e6 * a.floor.value, rel=1e-4, abs=1.0)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    hits = []
    for seed in range(24):
        law = fit_law(synthetic(spread=0.15, seed=seed), seed=seed)
        forecast = law.estimate(2000.0)
        truths = [(law.exponent(), 0.6), (law.floor, 5.0), (forecast, 200 * 2000**-0.6 + 5)]
        hits.append([e.low <= truth <= e.high for e, truth in truths])
    share = np.mean(hits, axis=0)
    assert (share >= 0.85).all(), share


def test_intervals_shrink_with_the_spread():
    widths = []
    for spread in (0.02, 0.2):
        found = fit_law(synthetic(spread=spread)).exponent()
        widths.append(found.high - found.low)
    assert widths[0] < 0.3 * widths[1]


def test_the_same_seed_gives_the_same_intervals():
    a = fit_law(synthetic(spread=0.1), seed=3)
    power_law._fit.cache_clear()
    b = fit_law(synthetic(spread=0.1), seed=3)
    assert a is not b
    assert a.as_json() == b.as_json()


def test_sizes_that_scatter_more_count_less():
    rng = np.random.default_rng(1)
    data = synthetic(floor=0.0, spread=0.01, seeds=8)
    wild = Measured(sizes=(30,), errors=tuple(80 * np.exp(1.0 * rng.standard_normal(8))))
    law = fit_law([*data, wild], floor=False)
    assert law.exponent().value == pytest.approx(0.6, abs=0.02)


def test_fewer_than_three_sizes_are_refused():
    with pytest.raises(DataError, match=r"there are 2 \(10, 20"):
        fit_law(synthetic(sizes=(10, 20)))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan")])
def test_errors_that_are_no_errors_are_refused(bad):
    with pytest.raises(DataError, match="positive numbers"):
        fit_law([*synthetic(), Measured(sizes=(1000,), errors=(bad,))])


def test_three_sizes_and_one_seed_give_a_law_without_intervals():
    law = fit_law(synthetic(sizes=(10, 50, 200), seeds=1))
    assert law.exponent().value == pytest.approx(0.6, rel=1e-3)
    assert np.isnan(law.exponent().low)
    assert "no intervals" in law.notes[0]
    assert law.band(100.0) is None
    assert law.as_json()["C"]["low"] is None


def test_three_sizes_and_three_seeds_give_intervals():
    law = fit_law(synthetic(sizes=(10, 50, 200), spread=0.05))
    assert law.exponent().low < 0.6 < law.exponent().high


def test_a_flat_error_has_no_exponent():
    law = fit_law(synthetic(scale=1e-9, floor=30.0, spread=0.1))
    assert any("does not surely fall" in note for note in law.notes)
    assert any("C is not identified" in note for note in law.notes)


def test_what_is_identified_is_not_complained_of():
    sizes = (10, 30, 100, 300, 1000, 3000)
    assert fit_law(synthetic(floor=20.0, sizes=sizes, spread=0.02)).notes == ()


def test_a_steep_short_curve_leaves_the_floor_open():
    law = fit_law(synthetic(floor=0.1, spread=0.1))
    assert any("C is not identified" in note for note in law.notes)


def test_an_error_below_the_floor_is_never_reached():
    law = fit_law(synthetic(floor=20.0, spread=0.01))
    assert law.labels_for(10.0).value == np.inf
    assert law.labels_for(10.0).as_json()["value"] is None


def two_factors(spread, *, low=(100, 1000, 5000)):
    rng = np.random.default_rng(0)
    return [
        Measured(
            sizes=(n, m),
            errors=tuple(
                (900 * n**-0.5 * m**-0.3 + 5) * np.exp(spread * rng.standard_normal(3))
            ),
        )
        for n in (10, 30, 100, 300)
        for m in low
    ]  # fmt: skip


def test_the_joint_law_of_both_sizes_is_recovered():
    law = fit_law(two_factors(0.03), factors=("labels", "pretraining"))
    for k, truth in enumerate((0.5, 0.3)):
        assert law.exponent(k).value == pytest.approx(truth, abs=0.04)
        assert law.exponent(k).low < truth < law.exponent(k).high
    target = 900 * 700**-0.5 * 20000**-0.3 + 5
    assert law.estimate(700, 20000).value == pytest.approx(target, rel=0.1)
    assert law.labels_for(target, 20000).value == pytest.approx(700, rel=0.5)


def test_the_joint_law_needs_three_sizes_of_each():
    with pytest.raises(DataError, match="three or more sizes of pretraining"):
        fit_law(two_factors(0.0, low=(100, 1000)), factors=("labels", "pretraining"))


def test_worth_is_read_on_the_law_of_scratch():
    scratch = fit_law(synthetic(floor=0.0, spread=0.01))
    transfer = synthetic(scale=40.0, floor=0.0, spread=0.01, sizes=(10, 20), seed=5)
    for row in savings_of(transfer, scratch):
        truth = row.labels * 5 ** (1 / 0.6)
        assert row.needed.value == pytest.approx(truth, rel=0.1)
        assert row.needed.low < truth < row.needed.high
        assert row.extra == pytest.approx(row.needed.value - row.labels)
        assert not row.is_extrapolated
        assert "extra labels" in row.text()


@pytest.mark.fault
def test_a_worth_a_thousand_times_beyond_the_measurements_is_no_number():
    scratch = fit_law(synthetic(floor=0.0, spread=0.01, sizes=(10, 20, 40)))
    for error, words in ((3.0, "cannot say"), (0.5, "scratch never reaches")):
        row = savings_of([Measured(sizes=(20,), errors=(error, error + 0.1))], scratch)[0]
        assert row.needed.value > 1e3
        assert "more than 380 extra labels" in row.text()
        assert words in row.text()


def test_worth_beyond_the_measurements_says_so():
    scratch = fit_law(synthetic(floor=0.0, spread=0.01, sizes=(10, 20, 40)))
    row = savings_of([Measured(sizes=(20,), errors=(12.0, 12.1))], scratch)[0]
    assert row.is_extrapolated
    assert "beyond the measured range of scratch" in row.text()


def test_worth_that_scratch_never_reaches_is_none():
    scratch = fit_law(synthetic(floor=20.0, spread=0.001))
    row = savings_of([Measured(sizes=(50,), errors=(10.0, 10.1))], scratch)[0]
    assert row.extra is None
    assert row.as_json()["extra"] is None
    assert "scratch never reaches" in row.text()


def test_overtaking_needs_no_law():
    scratch = [Measured(sizes=(n,), errors=(e, e)) for n, e in ((10, 50.0), (100, 30.0))]
    transfer = [Measured(sizes=(n,), errors=(e,)) for n, e in ((40, 20.0), (10, 40.0), (20, 29.0))]
    found = crossover(transfer, scratch)
    assert (found.labels, found.scratch_labels) == (20, 100)
    assert (found.error, found.scratch_error) == (pytest.approx(29.0), pytest.approx(30.0))
    assert crossover(transfer[1:2], scratch) is None
    assert crossover(transfer, []) is None
