"""The kinds of corrections by name."""

from __future__ import annotations

from collections.abc import Mapping

from tlpot.errors import ConfigError, nearest
from tlpot.models.correction import CorrectionInfo
from tlpot.models.forest import ForestCorrection
from tlpot.models.gaussian import GaussianCorrection
from tlpot.models.linear import LinearCorrection

AnyCorrection = LinearCorrection | GaussianCorrection | ForestCorrection

_KINDS: Mapping[str, tuple[type[AnyCorrection], int]] = {
    "linear": (LinearCorrection, 0),
    "gaussian process": (GaussianCorrection, 1),
    "forest": (ForestCorrection, 2),
}
"""The class, and how many sizes it needs."""


def empty_correction(info: CorrectionInfo, n_elements: int, n_features: int) -> AnyCorrection:
    """Returns a correction whose numbers are still to be read.

    Raises:
        ConfigError: no such kind, or sizes that make no sense.
    """
    if info.kind not in _KINDS:
        raise ConfigError(f"unknown correction {info.kind!r}{nearest(info.kind, _KINDS)}")
    kind, n_sizes = _KINDS[info.kind]
    if len(info.sizes) != n_sizes or min(info.sizes, default=1) < 1:
        raise ConfigError(
            f"correction {info.kind!r} has sizes {list(info.sizes)}, expected {n_sizes} of them"
        )
    return kind(info, n_elements, n_features)
