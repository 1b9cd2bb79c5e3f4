"""Tables, laws, worth and pictures of synthetic curves."""

import json
from dataclasses import replace

import pytest
from synthetic_curves import full, scratch, synthetic_curve, synthetic_series

from tlpot.errors import ConfigError
from tlpot.learning_curves import Prices, analyse, curve_figure, load_curve, save_reports
from tlpot.learning_curves.budget import candidates
from tlpot.learning_curves.record import relative_spread
from tlpot.presentation import drawn


@pytest.fixture
def curve():
    return synthetic_curve(synthetic_series("scratch", scratch), synthetic_series("full", full))


def test_the_laws_are_those_of_the_numbers(curve):
    report = analyse(curve, "energy_mae")
    assert report.laws["scratch"].exponent().value == pytest.approx(0.6, abs=0.05)
    assert report.laws["full"].exponent().value == pytest.approx(0.5, abs=0.05)
    (first, *_) = report.savings["full"]
    truth = (4000 / (full(10) - 2)) ** (1 / 0.6) - 10
    assert first.extra == pytest.approx(truth, rel=0.2)
    assert "scratch" not in report.savings


def test_the_tables_say_what_was_measured(curve):
    text = analyse(curve, "energy_mae").text()
    for words in ("energy MAE in meV", "100 test frames", "10 more are for validation", "±",
                  "α 0.", "worth", "extra labels"):  # fmt: skip
        assert words in text


def test_forecasts_are_compared_with_what_was_left_out(curve):
    report = analyse(curve, "energy_mae", up_to=100)
    assert [(f.label, f.size) for f in report.forecasts] == [
        ("scratch", 200), ("scratch", 500), ("full", 200), ("full", 500),
    ]  # fmt: skip
    for row in report.forecasts:
        assert row.forecast[0] == pytest.approx(row.measured, rel=0.3)
        assert row.forecast[1] <= row.measured <= row.forecast[2]
    assert "measured" in report.text()
    assert "inside" in report.text()


def test_two_sizes_give_a_table_and_no_law():
    curve = synthetic_curve(synthetic_series("full", full, sizes=(10, 20)))
    report = analyse(curve, "energy_mae")
    assert "three or more sizes" in report.unfitted["full"]
    assert "no 'scratch'" in report.text()


def test_a_flat_scratch_says_nothing_of_worth():
    flat = synthetic_series("scratch", lambda n: 1000.0, spread=0.2)
    report = analyse(synthetic_curve(flat, synthetic_series("full", full)), "energy_mae")
    assert report.savings == {}
    text = report.text()
    assert "does not surely fall" in text
    assert "measured: full, 10 labels" in text
    assert "beat scratch with 500 labels" in text


def test_an_unknown_error_is_refused(curve):
    with pytest.raises(ConfigError, match="did you mean 'energy_mae'"):
        analyse(curve, "energy_mea")
    with pytest.raises(ConfigError, match="forces_mae"):
        analyse(curve, "forces_mae")


def test_files(curve, tmp_path):
    reports = {q: analyse(curve, q) for q in curve.quantities()}
    save_reports(reports, tmp_path)
    content = json.loads((tmp_path / "laws.json").read_text())
    assert content["energy_mae"]["laws"]["full"]["exponents"]["labels"]["low"] < 0.5
    assert "energy RMSE" in (tmp_path / "report.txt").read_text()
    curve.save(tmp_path)
    assert load_curve(tmp_path) == curve


def test_the_picture_is_drawn_with_and_without_laws(tmp_path):
    short = synthetic_series("lora", lambda n: 300 * n**-0.4, sizes=(10, 20), seeds=1)
    curve = synthetic_curve(
        synthetic_series("scratch", scratch), synthetic_series("full", full), short
    )  # fmt: skip
    drawn(curve_figure({q: analyse(curve, q) for q in curve.quantities()}), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    drawn(curve_figure({"energy_mae": analyse(curve, "energy_mae")}), tmp_path / "curve.pdf")
    assert (tmp_path / "curve.pdf").read_bytes().startswith(b"%PDF")


def with_forces(series):
    points = tuple(
        replace(p, start={**p.start, "forces_mae": 9.0}, end={**p.end, "forces_mae": 90 / p.size})
        for p in series.points
    )
    return replace(series, points=points)


def test_an_error_that_one_strategy_lacks_is_shown_for_the_others(tmp_path):
    """A forest has energies only."""
    forest = synthetic_series("frozen-forest", full)
    lines = [with_forces(synthetic_series("scratch", scratch)), forest]
    lines.append(with_forces(synthetic_series("full", full)))
    curve = synthetic_curve(*lines)
    assert curve.quantities() == ["energy_mae", "energy_rmse", "forces_mae"]
    report = analyse(curve, "forces_mae")
    assert sorted(report.laws) == ["full", "scratch"]
    assert report.unfitted == {
        "frozen-forest": "no forces MAE was measured; its models give none",
    }
    table, laws = report.text().split("laws err(n)")
    assert "frozen-forest" not in table
    assert "frozen-forest" in laws
    assert sorted(analyse(curve, "energy_mae").laws) == ["frozen-forest", "full", "scratch"]
    drawn(curve_figure({q: analyse(curve, q) for q in curve.quantities()}), tmp_path / "curve.png")
    found, left_out = candidates(
        curve, "forces_mae", Prices(cost_ratio=10.0, budget=1e4, pretraining_paid=True)
    )
    assert {c.label for c in found} == {"full", "scratch"}
    assert "its models give none" in left_out["frozen-forest"]


@pytest.mark.fault
def test_seeds_that_differ_by_rounding_have_no_spread():
    assert relative_spread([46.69, 46.69 * (1 + 2e-16), 46.69]) == 0.0
    assert relative_spread([1.0, 1.1]) == pytest.approx(0.0697, abs=1e-3)


@pytest.mark.fault
def test_what_may_be_chance_is_no_negative_transfer():
    """Two strategies of one law, 20 % of scatter: each was NEGATIVE TRANSFER at some size."""
    claimed, worse = 0, 0
    for seed in range(40):
        lines = [
            synthetic_series(name, scratch, sizes=(10, 20, 50), spread=0.2, seed=2 * seed + k)
            for k, name in enumerate(("scratch", "full"))
        ]
        text = analyse(synthetic_curve(*lines), "energy_mae").text()
        claimed += "NEGATIVE TRANSFER" in text
        worse += "which may be chance, by the scatter of the seeds" in text
    assert claimed <= 8  # of the three sizes each by 2.5 % at most
    assert worse > 20
    lines = [synthetic_series("scratch", full), synthetic_series("full", scratch, seed=1)]
    text = analyse(synthetic_curve(*lines), "energy_mae").text()
    assert "NEGATIVE TRANSFER: full is worse than scratch with 10, 20, 50, 100, 200, 500" in text
    assert "may be chance" not in text
    lines = [synthetic_series(n, law, seeds=1) for n, law in (("scratch", full), ("full", scratch))]
    text = analyse(synthetic_curve(*lines), "energy_mae").text()
    assert "one seed cannot say whether it is chance" in text
    assert "NEGATIVE TRANSFER" not in text
