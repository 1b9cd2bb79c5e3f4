"""What a training does where nothing is set: by its strategy, and by the version of the defaults.

It is decided when a job starts, so that a configuration means the same whoever made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlpot.config import parse, to_mapping
from tlpot.errors import ConfigError
from tlpot.training import TrainingSettings
from tlpot.transfer import Strategy

DEFAULTS = 2
"""Of this tlpot: 1 until energies gained weight late and the choice of the weights went by every
kind of label relative to step 0."""


def training_settings(training: Mapping[str, Any], where: str) -> TrainingSettings:
    """Reads settings of which all are given that do not have the default.

    Raises:
        ConfigError: a typo, or a value that makes no sense.
    """
    return parse(TrainingSettings, training, f"{where}: training")


def complete_training(
    training: Mapping[str, Any], version: int, where: str, *, chosen: Strategy | None = None
) -> dict[str, Any]:
    """Returns all settings of a training.

    Args:
        training: those that are given; all of them stay as they are.
        version: of the defaults.
        where: the section, for messages.
        chosen: the strategy, whose defaults come before those of a training from scratch.

    Raises:
        ConfigError: a typo, a value that makes no sense, no such version, or a setting that does
            not apply to the strategy.
    """
    if not isinstance(training, Mapping):
        hint = ""
        if isinstance(training, TrainingSettings):
            hint = " (of those objects nobody knows what was set, and what suits the strategy)"
        raise ConfigError(
            f"{where}: training must be a section of 'key: value' pairs, not {training!r}{hint}"
        )
    if chosen is None or chosen.defaults is not None:
        own = {} if chosen is None else to_mapping(chosen.defaults)
        training = {**own, **_of_version(version, training, where)}
    elif idle := _set(training):
        raise ConfigError(
            f"{where}: strategy {chosen.name!r} trains nothing, so training.{idle[0]} does not "
            "apply; leave it out"
        )
    settings: dict[str, Any] = to_mapping(training_settings(training, where))
    return settings


def _set(training: Mapping[str, Any]) -> list[str]:
    """Keys beside the seed that do more than to repeat the default."""
    plain = to_mapping(TrainingSettings(seed=0))
    return sorted(k for k, v in training.items() if k != "seed" and (k, v) not in plain.items())


def _of_version(version: Any, training: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The training settings with what an older version had where nothing is set."""
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
