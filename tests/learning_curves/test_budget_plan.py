"""Plans recover the known law of synthetic curves."""

import json

import numpy as np
import pytest
from synthetic_curves import full, joint, scratch, synthetic_curve, synthetic_series

from tlpot.cli import main
from tlpot.errors import ConfigError, DataError
from tlpot.learning_curves import Prices, make_plan
from tlpot.learning_curves.job import error_to_reach


@pytest.fixture
def curve():
    return synthetic_curve(synthetic_series("scratch", scratch), synthetic_series("full", full))


@pytest.fixture
def parents_curve():
    """One strategy from parents of three sizes."""
    lines = [
        synthetic_series(
            "full", lambda n, m=m: joint(n, m), pretraining=m, label=f"full, P ({m})", seed=m
        )
        for m in (500, 2000, 8000)
    ]
    return synthetic_curve(synthetic_series("scratch", scratch), *lines)


def plan(curve, *, pretraining=None, **prices):
    prices = Prices(**{"cost_ratio": 1000.0, **prices})
    return make_plan(curve, "energy_mae", prices, pretraining=pretraining)


def test_labels_for_a_target(curve):
    first, second = plan(curve, target=40.0).target
    assert (first.label, second.label) == ("full", "scratch")
    need = (500 / 38) ** 2
    assert first.labels.value == pytest.approx(need, rel=0.15)
    # that 95 % of such intervals hold the truth is tested with the law itself
    assert first.labels.low < first.labels.value < first.labels.high
    assert first.cost.value == 1000 * (np.ceil(first.labels.value) + 10) + 5000
    assert first.best_share > 0.95
    assert second.labels.value == pytest.approx((4000 / 38) ** (1 / 0.6), rel=0.3)
    assert any("beyond the measured" in n or "far outside" in n for n in second.notes)


def test_a_paid_pretraining_costs_nothing_more(curve):
    a, b = (
        plan(curve, target=40.0, pretraining_paid=pretraining_paid).target[0]
        for pretraining_paid in (False, True)
    )
    assert a.cost.value - b.cost.value == 5000


@pytest.mark.fault
def test_a_budget_that_pays_no_label_is_not_a_want_of_laws(curve):
    """It said "no strategy has a law", although all had one."""
    found = plan(curve, budget=3.0)
    assert "no strategy has a law" not in str(found)
    assert "does not pay the first label of any strategy" in str(found)
    # ten labels for validation, one for training
    assert "11000 in all" in found.left_out["scratch, budget"]
    assert "16000 in all" in found.left_out["full, budget"]


def test_an_expensive_pretraining_can_be_the_worse_deal():
    dear = synthetic_series("full", full, pretraining=10**8)
    curve = synthetic_curve(synthetic_series("scratch", scratch), dear)
    assert plan(curve, target=200.0).target[0].label == "scratch"
    assert plan(curve, target=200.0, pretraining_paid=True).target[0].label == "full"


def test_a_target_below_the_floor_is_said_to_be_so():
    curve = synthetic_curve(synthetic_series("full", lambda n: 500 * n**-1.0 + 30))
    found = plan(curve, target=20.0)
    assert found.target[0].labels.value == np.inf
    assert found.as_json()["target"][0]["labels"]["value"] is None
    assert "error that the law tends to" in found.text()
    assert "none of the strategies reaches it" in found.text()


def test_what_a_budget_brings(curve):
    found = plan(curve, budget=215_000.0).budget
    assert [o.label for o in found] == ["full", "scratch"]
    assert found[0].labels.value == 200
    assert found[0].error.value == pytest.approx(full(200), rel=0.1)
    assert found[1].labels.value == 205


def test_a_budget_too_small_is_said_to_be_so(curve):
    found = plan(curve, budget=14_000.0)
    assert [o.label for o in found.budget] == ["scratch"]
    assert "does not pay the pretraining (5000)" in found.left_out["full, budget"]


def test_labels_that_are_there_need_not_be_bought(curve):
    a, b = (plan(curve, target=40.0, have=have).target[0] for have in (0, 50))
    assert a.cost.value - b.cost.value == 50_000


def test_the_law_of_both_sizes_divides_the_budget(parents_curve):
    found = plan(parents_curve, budget=1e6, target=20.0)
    (law,) = found.joint
    assert law.law.exponent(0).value == pytest.approx(0.5, abs=0.03)
    assert law.law.exponent(1).value == pytest.approx(0.4, abs=0.03)
    by_budget, by_target = found.budget_splits
    money = 1e6 - 10 * 1000
    assert by_budget.high.value == pytest.approx(money * 5 / 9 / 1000, rel=0.1)
    assert by_budget.low.value == pytest.approx(money * 4 / 9, rel=0.1)
    assert by_budget.high.low < by_budget.high.value < by_budget.high.high
    high = (20000 / 18 * 800**-0.4) ** (1 / 0.9)
    assert by_target.high.value == pytest.approx(high, rel=0.2)
    assert by_target.low.value == pytest.approx(800 * high, rel=0.2)
    text = found.text()
    assert "both kinds pay alike at" in text
    assert "far outside the data" in text


def test_money_already_spent_moves_the_division(parents_curve):
    found = plan(parents_curve, budget=4000.0, pretraining_paid=True, have=30).budget_splits[0]
    assert found.low.value == pytest.approx(8000 + 4000)
    assert found.high.value == pytest.approx(20)
    assert found.alone["cheap"] == pytest.approx(found.error.value, rel=1e-6)
    assert found.alone["expensive"] > found.error.value


def test_a_curve_of_the_pretraining_stands_in_with_a_warning(curve):
    cheap = synthetic_curve(
        synthetic_series("scratch", lambda n: 3000 * n**-0.4, sizes=(100, 300, 1000, 3000)),
        level="dft/synthetic",
    )
    found = plan(curve, budget=1e6, pretraining=cheap)
    (law,) = found.joint
    assert law.law.exponent(1).value == pytest.approx(0.4, abs=0.02)
    assert law.law.estimate(100, 5000).value == pytest.approx(full(100), rel=0.05)
    assert "is assumed" in found.text()


def test_a_pretraining_of_the_same_level_is_refused(curve):
    with pytest.raises(ConfigError, match="as is the transfer"):
        plan(curve, budget=1e6, pretraining=curve)


def test_a_pretraining_without_scratch_is_refused(curve):
    other = synthetic_curve(synthetic_series("full", full), level="dft/synthetic")
    with pytest.raises(DataError, match="no series of strategy 'scratch'"):
        plan(curve, budget=1e6, pretraining=other)


def test_an_unknown_cost_of_the_pretraining_is_not_taken_for_nothing():
    curve = synthetic_curve(synthetic_series("full", full, pretraining=None))
    with pytest.raises(ConfigError, match="--pretraining-paid"):
        plan(curve, target=40.0)
    assert plan(curve, target=40.0, pretraining_paid=True).target


def test_a_strategy_that_does_not_learn_is_left_out(curve):
    flat = synthetic_series("shift", lambda n: 90.0, spread=0.1)
    found = plan(synthetic_curve(*curve.series, flat), target=40.0)
    assert [o.label for o in found.target] == ["full", "scratch"]
    assert "does not surely fall" in found.left_out["shift"]


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ({"target": 0.0}, "target is 0.0"),
        ({"budget": -1.0}, "budget is -1.0"),
        ({"target": 1.0, "cost_ratio": 0.0}, "cost_ratio is 0.0"),
        ({"target": 1.0, "have": -1}, "have is -1"),
        ({}, "nothing to plan"),
    ],
)
def test_terms_that_make_no_sense_are_refused(curve, prices, message):
    with pytest.raises(ConfigError, match=message):
        plan(curve, **prices)


def command(curve, tmp_path, *arguments):
    curve.save(tmp_path)
    return main(["plan", str(tmp_path), *arguments])


@pytest.mark.parametrize("target", ["0.04", "40meV", "0.04 eV"])
def test_the_command_reads_ev(curve, tmp_path, target, capsys):
    json_file = tmp_path / "plan.json"
    assert not command(
        curve, tmp_path, "--cost-ratio", "1000", "--target", target, "--json", str(json_file)
    )  # fmt: skip
    assert "to reach 40 meV" in capsys.readouterr().out
    assert json.loads(json_file.read_text())["target"][0]["label"] == "full"


@pytest.mark.fault
@pytest.mark.parametrize("target", ["0.92242 kcal/mol", "4e-2eV", "1.4699727e-3 hartree"])
def test_the_command_reads_other_units(curve, tmp_path, target, capsys):
    assert not command(curve, tmp_path, "--cost-ratio", "1000", "--target", target)
    assert "to reach 40 meV" in capsys.readouterr().out
    assert command(curve, tmp_path, "--cost-ratio", "1000", "--target", "40meV/Å") == 2
    assert "energy unit" in capsys.readouterr().err


@pytest.mark.fault
@pytest.mark.parametrize(
    ("target", "quantity", "expected"),
    [
        ("50meV/Å", "forces_mae", 50.0),
        ("50 meV", "forces_rmse", 50.0),
        (0.05, "forces_mae", 50.0),
        ("1 eV/nm", "forces_mae", 100.0),
        ("2meV/atom", "energy_per_atom_mae", 2.0),
        ("1meV/Å^3", "stress_mae", 1.0),
    ],
)
def test_an_error_has_its_own_units(curve, target, quantity, expected):
    assert error_to_reach(target, curve, quantity) == pytest.approx(expected)


def test_the_command_tests_forecasts(curve, tmp_path, capsys):
    assert not command(curve, tmp_path, "--fit-up-to", "100")
    assert "forecasts of the laws" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "0.04"], "--cost-ratio is needed"),
        (["--cost-ratio", "10"], "nothing to plan"),
        (["--cost-ratio", "10", "--target", "small"], "expected a number in eV"),
        (["--cost-ratio", "10", "--target", "1", "--quantity", "forces_mae"], "no error is called"),
        (["--fit-up-to", "100", "--target", "1"], "does not go with a plan"),
    ],
)
def test_mistakes_on_the_command_line(curve, tmp_path, arguments, message, capsys):
    assert command(curve, tmp_path, *arguments) == 2
    assert message in capsys.readouterr().err
