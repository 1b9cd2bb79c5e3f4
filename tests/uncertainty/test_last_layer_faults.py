"""The regularisation of a last layer, chosen by validation frames of which some say nothing."""

import pytest
import torch

from tlpot.errors import DataError
from tlpot.uncertainty.last_layer import choose_regularisation


@pytest.fixture
def frames():
    """FᵀF of training frames, and features and errors of validation frames."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 6, dtype=torch.float64, generator=generator)
    held = torch.randn(10, 6, dtype=torch.float64, generator=generator)
    errors = torch.randn(10, dtype=torch.float64, generator=generator)
    return rows.mT @ rows, held, errors


@pytest.mark.fault
@pytest.mark.parametrize("error", [0.0, 0.1])
def test_a_frame_without_features_does_not_choose(frames, error):
    """A free atom has variance 0: no candidate was a number, and the smallest was taken."""
    gram, held, errors = frames
    more = torch.cat([held, torch.zeros_like(held[:1])])
    found = choose_regularisation(gram, more, torch.cat([errors, errors.new_tensor([error])]))
    assert found == choose_regularisation(gram, held, errors)


@pytest.mark.fault
def test_frames_without_any_features_are_refused(frames):
    """Of free atoms alone the smallest candidate was taken as well."""
    gram, held, errors = frames
    with pytest.raises(DataError, match="validation"):
        choose_regularisation(gram, torch.zeros_like(held), errors)
