"""What is said of errors that have risen."""

import pytest

from tlpot.evaluation.error_tables import worse_words


@pytest.mark.fault
def test_what_looks_the_same_is_no_worse():
    """ENERGY WORSE: MAE 116.7 -> 116.7 meV, of a closed form that found nothing to add."""
    assert worse_words({"energy_mae": 116.6614}, {"energy_mae": 116.6622}, "test") == []
    found = worse_words({"energy_mae": 116.6614}, {"energy_mae": 116.8}, "test")
    assert len(found) == 1
    assert "116.7 -> 116.8" in found[0]


@pytest.mark.fault
def test_yes_and_no_go_by_cross_entropy():
    """PROPERTY WORSE, by the mean error of probabilities, beside a table of better entropies."""
    start = {"property_mae": 0.46, "cross_entropy": 0.70}
    better = {"property_mae": 0.47, "cross_entropy": 0.69}
    assert worse_words(start, better, "test", ("property",)) == []
    (found,) = worse_words(start, {**better, "cross_entropy": 0.71}, "test", ("property",))
    assert "cross entropy 0.7 -> 0.71 on" in found
