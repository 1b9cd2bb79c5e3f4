"""The moving average of the weights."""

import contextlib

import pytest
import torch
from torch import nn

from tlpot.training.optimizer import MovingAverage


@pytest.fixture
def model():
    model = nn.Linear(2, 1, bias=True).double()
    model.bias.requires_grad_(False)
    return model


def test_average_follows_the_formula_and_leaves_fixed_weights_out(model):
    average = MovingAverage(model, 0.5)
    assert set(average.averages) == {"weight"}
    expected = model.weight.detach().clone()
    for n in range(1, 20):
        with torch.no_grad():
            model.weight.fill_(float(n))
        average.update()
        decay = min(0.5, n / (9 + n))
        expected = decay * expected + (1 - decay) * n
        torch.testing.assert_close(average.averages["weight"], expected, rtol=1e-14, atol=0)


def test_no_decay_means_the_last_weights(model):
    average = MovingAverage(model, 0.0)
    with torch.no_grad():
        model.weight.fill_(7.0)
    average.update()
    assert torch.equal(average.averages["weight"], model.weight)


def test_applied_gives_the_weights_back_even_after_an_error(model):
    average = MovingAverage(model, 0.9)
    start = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.fill_(7.0)
    with average.applied():
        assert torch.equal(model.weight, start)
    with contextlib.suppress(RuntimeError), average.applied():
        raise RuntimeError
    assert torch.equal(model.weight, torch.full_like(start, 7.0))
    average.apply()
    assert torch.equal(model.weight, start)
