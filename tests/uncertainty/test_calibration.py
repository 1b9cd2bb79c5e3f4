"""Conformal calibration, on synthetic errors whose distribution is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tlpot.errors import ConfigError, DataError
from tlpot.models import ONE_SIGMA, Calibration
from tlpot.presentation import drawn, picture_path
from tlpot.uncertainty import Deviations, calibrate, calibration_figure, judge, spearman
from tlpot.uncertainty.conformal import negative_log_likelihood, normal_quantile


def synthetic(n, *, understated=4.0, seed=0, forces=0, forces_understated=None):
    """Normal errors whose standard deviations are stated too small by a factor."""
    rng = np.random.default_rng(seed)

    def draw(size, understated):
        std = np.exp(rng.normal(size=size)) * 1e-2
        return rng.normal(size=size) * std, std / understated

    energy, energy_std = draw(n, understated)
    force, forces_std = draw(forces, forces_understated or understated)
    return Deviations(
        energy=energy,
        energy_std=energy_std,
        groups=np.array(["a", "b"])[rng.integers(2, size=n)],
        forces=force,
        forces_std=forces_std,
        force_frames=np.arange(forces) * n // max(forces, 1),
    )


@pytest.mark.parametrize("coverage", [0.5, ONE_SIGMA, 0.9, 0.95])
def test_the_promise_holds_on_average_for_few_frames(coverage):
    """The mean coverage of a further frame is between c and c + 1 / (n + 1)."""
    n, repeats = 25, 2000
    rng = np.random.default_rng(1)
    scores = np.abs(rng.normal(size=(repeats, n)))
    fresh = np.abs(rng.normal(size=repeats))
    factors = [Calibration(torch.from_numpy(row), 0.5).interval(coverage) for row in scores]
    found = float((fresh <= np.array(factors)).mean())
    slack = 4 * math.sqrt(coverage * (1 - coverage) / repeats)
    assert coverage - slack < found < coverage + 1 / (n + 1) + slack


def test_the_rank_is_the_corrected_one():
    calibration = Calibration(torch.arange(19.0, 0.0, -1.0), 0.95)
    assert calibration.factor == 19.0
    assert calibration.interval(0.5) == 10.0
    assert calibration.interval(0.51) == 11.0
    with pytest.raises(ConfigError, match="at least 99 calibration frames"):
        calibration.interval(0.99)
    with pytest.raises(ConfigError, match="coverage is 1"):
        calibration.interval(1.0)
    with pytest.raises(ConfigError, match="finite and not negative"):
        Calibration(torch.tensor([1.0, math.nan]))


def test_an_understated_uncertainty_is_brought_to_scale():
    calibration = calibrate(synthetic(2000))
    assert calibration.factor == pytest.approx(4.0, rel=0.06)
    report = judge(calibration, synthetic(2000), synthetic(5000, seed=1, forces=3000))
    assert (report.n_frames, report.n_judged, report.n_forces) == (2000, 5000, 3000)
    for row in report.rows:
        assert row.raw < row.expected - 0.2
        for found in (row.calibrated, row.interval, row.forces):
            assert found == pytest.approx(row.expected, abs=0.04)
    assert report.nll_calibrated < report.nll_raw - 5
    assert report.spearman > 0.4
    assert "68.3%" in report.text()
    assert "exchangeable" in report.text()


def test_forces_get_a_factor_of_their_own():
    """Energies understated fourfold, forces by 1.5: one factor cannot serve both."""
    settings = {"forces": 18000, "forces_understated": 1.5}
    held, test = synthetic(2000, **settings), synthetic(2000, seed=1, **settings)
    calibration = calibrate(held)
    assert calibration.factor == pytest.approx(4.0, rel=0.06)
    assert calibration.force_factor == pytest.approx(1.5, rel=0.06)
    assert calibration.n_force_frames == 2000
    for report in (judge(calibration, held, test), judge(calibration, held)):
        assert report.force_factor == calibration.force_factor
        for row in report.rows:
            assert row.forces == pytest.approx(row.expected, abs=0.03)
        assert "one component of each of 2000 frames" in report.text()
    shared = judge(Calibration(torch.from_numpy(held.scores)), held, test)
    assert shared.rows[1].forces > 0.95
    assert "the factor of the energies" in shared.text()


def test_a_force_component_is_drawn_from_each_frame():
    found = synthetic(20, forces=60)
    found.forces_std[3:6] = 0.0  # all of frame 1
    found.forces_std[7] = 0.0
    scores, frames = found.force_scores()
    assert frames.tolist() == [0, *range(2, 20)]
    ratios = np.abs(found.forces) / np.where(found.forces_std > 0, found.forces_std, np.nan)
    for score, frame in zip(scores, frames, strict=True):
        assert score in ratios[found.force_frames == frame]
    assert not np.array_equal(scores, found.force_scores(seed=1)[0])


def test_few_labelled_forces_share_the_factor_of_the_energies():
    found = synthetic(40)
    few = replace(
        found,
        forces=np.ones(9),
        forces_std=np.full(9, 0.1),
        force_frames=np.arange(9),
    )
    calibration = calibrate(few)
    assert calibration.n_force_frames == 0
    assert calibration.force_factor == calibration.factor


def test_the_promise_for_forces_holds_though_components_of_a_frame_go_together():
    """All components of a frame share one scale, which pooled scores would take for many."""
    n, size, repeats = 30, 12, 1500
    rng = np.random.default_rng(4)
    inside = []
    for _ in range(repeats):
        scale = np.exp(rng.normal(size=(n + 1, 1)))
        scores = np.abs(rng.normal(size=(n + 1, size))) * scale
        drawn = torch.from_numpy(scores[:n, 0].copy())
        factor = Calibration(drawn, 0.9, drawn).force_factor
        inside.append((scores[n] <= factor).mean())
    assert 0.9 - 0.015 < float(np.mean(inside)) < 0.9 + 1 / (n + 1) + 0.015


def test_another_coverage_gives_the_same_distribution():
    report = judge(calibrate(synthetic(2000), 0.9), synthetic(2000), synthetic(5000, seed=1))
    assert report.factor == pytest.approx(4.0 * normal_quantile(0.9), rel=0.06)
    assert report.rows[1].calibrated == pytest.approx(0.683, abs=0.04)


def test_without_test_frames_the_frames_are_judged_in_folds():
    held = synthetic(400)
    report = judge(calibrate(held), held)
    assert "5 folds" in report.judged_on
    assert report.rows[1].interval == pytest.approx(0.683, abs=0.06)
    few = synthetic(12)
    report = judge(calibrate(few), few)
    assert math.isnan(report.rows[3].interval)
    assert report.as_json()["rows"][3]["interval"] is None
    assert report.as_json()["n_frames"] == 12


def test_too_few_frames_and_perfect_models_are_refused():
    with pytest.raises(DataError, match="at least 10 frames"):
        calibrate(synthetic(9))
    found = synthetic(20)
    exact = Deviations(
        energy=np.zeros(20),
        energy_std=found.energy_std,
        groups=found.groups,
        forces=found.forces,
        forces_std=found.forces_std,
        force_frames=found.force_frames,
    )
    with pytest.raises(DataError, match="are zero"):
        calibrate(exact)


def test_likelihood_and_rank_correlation():
    errors, std = np.array([1.0, -2.0]), np.array([1.0, 0.5])
    by_hand = [0.5 * math.log(2 * math.pi * s * s) + e * e / (2 * s * s)
               for e, s in zip(errors, std, strict=True)]  # fmt: skip
    assert negative_log_likelihood(errors, std) == pytest.approx(np.mean(by_hand))
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert spearman(x, x**3) == pytest.approx(1.0)
    assert spearman(x, -x) == pytest.approx(-1.0)
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4
    assert spearman(np.array([0.0, 1.0, 1.0, 2.0]), x) == pytest.approx(4.5 / math.sqrt(4.5 * 5.0))
    assert math.isnan(spearman(np.ones(4), x))


def test_the_picture_is_drawn(tmp_path):
    held = synthetic(60)
    path = tmp_path / "calibration.png"
    drawn(calibration_figure(judge(calibrate(held), held), held, "synthetic"), path)
    assert picture_path(path).stat().st_size > 10_000
