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
