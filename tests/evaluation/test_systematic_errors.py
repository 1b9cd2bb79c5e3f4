"""Calibration tells scale, offset and scatter apart."""

import numpy as np
import pytest

from tlpot.evaluation import Predictions, systematic_errors

E0 = {1: -13.0, 8: -2040.0}


def predictions(change, force_change=lambda f: f, n=40, seed=0):
    """Made-up labels of water and H2; the prediction is a known function of the label."""
    rng = np.random.default_rng(seed)
    water = np.arange(n) % 2 == 0
    sizes = np.where(water, 3, 2)
    numbers = np.concatenate([[8, 1, 1] if w else [1, 1] for w in water])
    free = np.where(water, E0[8] + 2 * E0[1], 2 * E0[1])
    interaction = np.where(water, -10.0, -4.5) + 0.3 * rng.standard_normal(n)
    forces = rng.standard_normal((len(numbers), 3))
    return Predictions(
        indices=np.arange(n),
        sizes=sizes,
        groups=np.where(water, "water", "hydrogen"),
        atomic_numbers=numbers,
        energy=free[:, None] + np.stack([interaction, change(interaction, water)], axis=1),
        forces=np.stack([forces, force_change(forces)], axis=-1),
        stress=np.full((n, 3, 3, 2), np.nan),
    )


def test_a_perfect_model():
    found = systematic_errors(predictions(lambda e, _: e), E0)
    for line in found.lines.values():
        assert line.slope == pytest.approx(1.0)
        assert line.r2 == pytest.approx(1.0)
    assert np.isnan(found.offset_share)
    assert found.quantiles["energy"]["max"] == pytest.approx(0.0, abs=1e-6)


def test_a_scale_error_is_a_slope():
    found = systematic_errors(predictions(lambda e, _: 0.8 * e, lambda f: 1.1 * f), E0)
    assert found.lines["relative_energy"].slope == pytest.approx(0.8)
    assert found.lines["interaction_energy"].slope == pytest.approx(0.8)
    assert found.lines["force"].slope == pytest.approx(1.1)
    assert found.lines["force"].intercept == pytest.approx(0.0, abs=1e-12)


def test_an_offset_of_each_molecule_is_all_offset():
    found = systematic_errors(predictions(lambda e, water: e + np.where(water, 0.2, -0.1)), E0)
    assert found.offset_share == pytest.approx(1.0)
    assert found.lines["relative_energy"].slope == pytest.approx(1.0)
    assert found.lines["relative_energy"].r2 == pytest.approx(1.0)
    assert found.by_molecule["water"]["energy_mean"] == pytest.approx(200.0)
    assert found.by_molecule["hydrogen"]["energy_std"] == pytest.approx(0.0, abs=1e-6)


def test_scatter_is_not_offset():
    rng = np.random.default_rng(1)
    noise = 0.1 * rng.standard_normal(2000)
    found = systematic_errors(predictions(lambda e, _: e + noise, n=2000), E0)
    assert found.offset_share < 0.02
    assert found.quantiles["energy"]["50 %"] == pytest.approx(67.4, rel=0.1)
    assert found.quantiles["energy"]["99 %"] == pytest.approx(257.6, rel=0.15)


def test_without_forces_there_is_no_line_for_them():
    made = predictions(lambda e, _: e, lambda f: np.full_like(f, np.nan))
    found = systematic_errors(made, E0)
    assert set(found.lines) == {"interaction_energy", "relative_energy"}
    assert set(found.quantiles) == {"energy"}


def test_five_points_are_the_fewest_for_a_line():
    few = predictions(lambda e, _: e, lambda f: np.full_like(f, np.nan), n=4)
    found = systematic_errors(few, E0)
    assert found.lines == {}
    assert "too few" not in found.text()
    assert found.quantiles["energy"]
