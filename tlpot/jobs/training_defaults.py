"""Versions of the defaults of a training, so that an old configuration can be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlpot.errors import ConfigError

DEFAULTS = 2
"""Of this tlpot: 1 until energies gained weight late and the choice of the weights went by every
kind of label relative to step 0."""


def training_defaults(version: Any, training: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Returns the training settings with what an older version had where nothing is set.

    Args:
        version: of the defaults.
        training: the settings as given.
        where: the section, for messages.

    Raises:
        ConfigError: no such version.
    """
    if version == DEFAULTS:
        return dict(training)
    if version != 1:
        raise ConfigError(f"{where}: defaults is {version!r}, expected 1 or {DEFAULTS}")
    given = training.get("loss", {})
    if not isinstance(given, Mapping):
        return dict(training)  # which the parser refuses
    loss = {"energy": 1.0, "energy_end": None, "forces": 10.0, "stress": 10.0, **given}
    if loss["energy_end"] is None:  # which did not rise
        loss["energy_end"] = loss["energy"] or None
    return {"selection": "loss", **training, "loss": loss}
