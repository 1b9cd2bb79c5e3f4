"""Reference energies: what compositions identify, and what they cannot."""

import numpy as np
import pytest

from tlpot.errors import DataError
from tlpot.training import fit_references

ELEMENTS = (1, 6, 8)


def fit(composition, shifts, noise=0.0):
    composition = np.array(composition, dtype=float)
    rng = np.random.default_rng(0)
    residuals = composition @ np.array(shifts) + noise * rng.normal(size=len(composition))
    return fit_references(ELEMENTS, composition, residuals), composition, residuals


def test_enough_compositions_give_every_shift_exactly():
    found, *_ = fit([[4, 1, 0], [2, 0, 1], [4, 1, 1], [6, 2, 1]], [0.1, -2.0, 30.0])
    np.testing.assert_allclose(found.shifts, [0.1, -2.0, 30.0], atol=1e-10)
    assert found.rank == 3
    assert found.caution == ""
    assert found.after == pytest.approx(0.0, abs=1e-9)


def test_one_composition_moves_only_the_total_by_the_smallest_shifts():
    found, composition, residuals = fit([[4, 1, 1]] * 5, [0.1, -2.0, 3.0])
    assert found.rank == 1
    np.testing.assert_allclose(composition @ found.shifts, residuals, atol=1e-12)
    # the smallest shifts in units of Z^(7/3)
    sizes = np.array(ELEMENTS, dtype=float) ** (7 / 3)
    along = sizes**2 * composition[0]
    expected = residuals[0] / (along @ composition[0]) * along
    np.testing.assert_allclose(found.shifts, expected, atol=1e-12)
    assert np.isnan(found.uncertainties).all()
    assert "only one combination of 3" in found.caution
    assert "H, C, O" in found.caution


def test_hydrogens_alone_can_be_known_while_carbon_and_oxygen_are_not():
    # C and O always come together, H varies
    found, *_ = fit([[4, 1, 1], [2, 1, 1], [6, 2, 2], [8, 2, 2]], [0.5, 1.0, 3.0], noise=1e-3)
    assert found.rank == 2
    assert found.shifts[0] == pytest.approx(0.5, abs=5e-3)
    assert np.isfinite(found.uncertainties[0])
    assert np.isnan(found.uncertainties[1:]).all()
    assert found.shifts[1] + found.shifts[2] == pytest.approx(4.0, abs=5e-3)
    assert found.shifts[2] / found.shifts[1] == pytest.approx((8 / 6) ** (14 / 3))
    assert "C, O" in found.caution
    assert "H" not in found.caution.split(":")[1].split("cannot")[0]


@pytest.mark.fault
def test_where_elements_cannot_be_told_apart_another_composition_is_near():
    """Energies without the cores from a parent with them: equal shifts are off by thousands."""
    total = np.array([-16.0, -1038.0, -2049.0])  # all electrons
    valence = np.array([-15.0, -54.0, -118.0])
    rows = np.array([[4, 1, 1], [6, 2, 1]], float)  # methanol and ethanol
    found = fit_references(ELEMENTS, rows, rows @ (valence - total))
    assert found.rank == 2
    other = np.array([2, 1, 1], float)  # formaldehyde
    error = other @ (total + found.shifts - valence)
    plain = np.linalg.lstsq(rows, rows @ (valence - total), rcond=None)[0]
    assert abs(error) < 10 < 300 < abs(other @ (total + plain - valence))


@pytest.mark.fault
@pytest.mark.parametrize(
    ("rows", "known"),
    [
        ([[4, 1, 0], [2, 0, 1], [4, 1, 1]], [True, True, True]),
        ([[4, 1, 1], [2, 1, 1]], [True, False, False]),
    ],
)
def test_as_many_frames_as_shifts_leave_their_error_unknown(rows, known):
    """Shifts that fit by necessity had standard errors of 0."""
    found, *_ = fit(rows, [0.1, -2.0, 30.0], noise=0.1)
    assert found.identified.tolist() == known
    assert np.isnan(found.uncertainties).all()
    assert "error is unknown" in found.caution
    assert ("told apart" in found.caution) == (not all(known))
    one_more, *_ = fit([*rows, [12, 2, 2]], [0.1, -2.0, 30.0], noise=0.1)
    assert np.isfinite(one_more.uncertainties).tolist() == known
    assert "error is unknown" not in one_more.caution


def test_an_element_that_does_not_occur_stays_and_is_called_unknown():
    found, *_ = fit([[4, 1, 0], [6, 2, 0], [2, 2, 0]], [0.5, 1.0, 9.0])
    assert found.shifts[2] == 0.0
    assert np.isnan(found.uncertainties[2])
    assert found.caution == "no training frame has O, left as before"


def test_uncertainties_are_standard_errors():
    rng = np.random.default_rng(1)
    composition = rng.integers(1, 6, size=(40, 3)).astype(float)
    fits = [
        fit_references(ELEMENTS, composition, composition @ [1, 2, 3] + rng.normal(size=40))
        for _ in range(300)
    ]
    spread = np.std([f.shifts for f in fits], axis=0)
    said = np.mean([f.uncertainties for f in fits], axis=0)
    np.testing.assert_allclose(said, spread, rtol=0.15)


def test_large_totals_cost_no_digits():
    shifts = np.array([-13.6, -1029.5, -2042.0])
    composition = np.array([[4, 1, 1], [2, 1, 1], [4, 1, 0], [2, 0, 1], [6, 2, 1]] * 20, float)
    found = fit_references(ELEMENTS, composition, composition @ shifts)
    np.testing.assert_allclose(found.shifts, shifts, atol=1e-8)


def test_nothing_to_fit_or_nan_is_an_error():
    with pytest.raises(DataError, match="no energies"):
        fit_references(ELEMENTS, np.zeros((0, 3)), np.zeros(0))
    with pytest.raises(DataError, match="NaN"):
        fit_references(ELEMENTS, np.ones((1, 3)), np.array([np.nan]))


def test_what_is_left_over_is_counted_by_atoms():
    composition = np.array([[4.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    found = fit_references((1, 8), composition, np.array([4.0, 1.0, 3.0]))
    assert found.after == pytest.approx(2 / 3)
    assert found.after_per_atom == pytest.approx(1 / 3)
