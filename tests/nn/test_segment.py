"""The scatter and its backends."""

import sys

import pytest
import torch
from needs import needs

from tlpot.errors import ConfigError, MissingExtraError
from tlpot.graph import segment_sum, segment_sum_backend


def test_sums_rows_by_index():
    values = torch.arange(8.0).view(4, 2)
    out = segment_sum(values, torch.tensor([0, 0, 2, 2]), 3)
    assert out.tolist() == [[2.0, 4.0], [0.0, 0.0], [10.0, 12.0]]


def test_torch_scatter_agrees():
    needs("torch_scatter")
    values, index = torch.randn(50, 3, 4), torch.randint(0, 7, (50,)).sort().values
    torch.testing.assert_close(
        segment_sum_backend("torch_scatter")(values, index, 7), segment_sum(values, index, 7)
    )


def test_absent_torch_scatter_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_scatter", None)
    with pytest.raises(MissingExtraError, match=r"tlpot\[scatter\]"):
        segment_sum_backend("torch_scatter")


def test_unknown_backend_offers_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'native'"):
        segment_sum_backend("nativ")
