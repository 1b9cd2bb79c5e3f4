"""What the tests of learning curves have in common."""

import pytest

from tlpot.learning_curves import plan, power_law


@pytest.fixture(autouse=True)
def few_drawn_laws(request, monkeypatch):
    """Fewer laws are drawn for intervals, but where the intervals are what is tested."""
    if request.module.__name__.endswith("test_power_law"):
        yield
        return
    for module in (power_law, plan):
        monkeypatch.setattr(module, "N_SAMPLES", 100)
    power_law._fit.cache_clear()
    yield
    power_law._fit.cache_clear()  # a law of few samples is none for other tests
