"""What a fine-tuning is made of, and what a training does where nothing is set.

Defaults are decided when a job starts, so that a configuration means the same whoever made it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tlpot.config import IN_MEMORY, LATER, check_least, parse, to_mapping
from tlpot.data import DataSource
from tlpot.errors import ConfigError, nearest
from tlpot.evaluation import ReportSettings
from tlpot.jobs.data_sources import DataSettings, SplitSettings
from tlpot.jobs.given_settings import (
    ConfigSource,
    choose_only_level,
    settings_with_data,
    with_epochs,
)
from tlpot.jobs.references import ReferenceMethod
from tlpot.models import Potential
from tlpot.training import TrainingSettings
from tlpot.transfer import STRATEGY_NAMES, Strategy, strategy, strategy_settings

DEFAULTS = 2
"""Of this tlpot: 1 until energies gained weight late and the choice of the weights went by every
kind of label relative to step 0."""

AUTO = "auto"
"""Name of the strategy that compares some others when a job starts."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Automatic:
    """Settings of ``strategy=auto``.

    Attributes:
        candidates: names of strategies; empty for what suits the number of frames.
        folds: parts into which the training frames are divided.
        epochs: of each trial; None for those of the training itself.
    """

    candidates: tuple[str, ...] = ()
    folds: int = 3
    epochs: int | None = None

    def __post_init__(self) -> None:
        check_least(self, folds=2, epochs=1)
        for name in self.candidates:
            strategy(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """A fine-tuning.

    Attributes:
        parent: file or name of the pretrained potential; or an engine that has features of atoms
            (``torch:FILE``, ``env:PYTHON ase:MODULE:CLASS``), for frozen regressors.
        data: the labels.
        level: level of theory to learn.
        strategy: name of the strategy, or a section with its ``name`` and its settings; ``auto``
            compares some when the job starts, see `tlpot.jobs.choose_strategy`.
        output: the model file to write.
        source: level of the parent to start from; needed if it has several.
        anchor: weight in the loss of the parent's forces, where the labels are energies only;
            None for a small one, 0 for none.
        references: E0 of the new level: ``fit`` to what the parent leaves over, ``isolated``
            atoms as the dataset gives them, or those of the ``parent``. None for those of the
            parent where weights are trained with more labels of the level that it knows, else a
            fit.
        split: which frames are for what.
        training: what is set of `TrainingSettings`; the rest is what suits the strategy.
        name: of the model; the file's stem if left out.
        licence: of the new weights.
        pooling: of an intensive property, see `TrainConfig`; None for the parent's.
        report: what the transfer report looks at; none is made if this is left out.
        features: folder that keeps what an engine as the parent says of structures, by geometry;
            None for one beside the model. Several trainings may share it.
        defaults: version of the training's defaults, see `tlpot.jobs.finetune_config`.
        parent_model: the pretrained potential itself; `parent` is then only what it is called.
    """

    parent: str
    data: DataSettings
    level: str
    output: Path
    strategy: str | Mapping[str, Any] = "full"
    source: str | None = None
    anchor: float | None = None
    references: ReferenceMethod | None = None
    split: SplitSettings = field(default_factory=SplitSettings)
    training: Mapping[str, Any] = field(
        default_factory=dict, metadata={"section": TrainingSettings}
    )
    name: str = ""
    licence: str = "not stated"
    pooling: Literal["mean", "attention"] | None = field(default=None, metadata=LATER)
    report: ReportSettings | None = None
    features: Path | None = field(default=None, metadata=LATER)
    defaults: int = DEFAULTS
    parent_model: Potential | None = field(
        default=None, compare=False, repr=False, metadata=IN_MEMORY
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.data.assuming(self.level))

    def resolved(self, where: str = "finetune") -> FinetuneConfig:
        """Returns the same with every setting of the strategy and of the training.

        With strategy ``auto`` these are not known yet; they are only checked.

        Raises:
            ConfigError: a typo, a value that makes no sense, or a setting that does not apply to
                the strategy.
        """
        chosen = None if is_automatic(self.strategy) else checked_strategy(self.strategy, where)
        training = complete_training(self.training, self.defaults, where, chosen=chosen)
        if chosen is None:
            automatic_settings(self.strategy, where)
            return self
        return replace(self, strategy=strategy_settings(chosen), training=training)


def finetune_config(settings: Mapping[str, Any], where: str = "finetune") -> FinetuneConfig:
    """Reads a configuration; it is complete, see `FinetuneConfig.resolved`.

    Args:
        settings: keys are fields of `FinetuneConfig`.
        where: the file, for messages.

    Raises:
        ConfigError: a typo, a value that makes no sense, or a setting that does not apply to
            the strategy.
    """
    if not is_automatic(settings.get("strategy")):
        chosen = checked_strategy(settings.get("strategy", "full"), where)
        settings = {**settings, "strategy": strategy_settings(chosen)}
    return parse(FinetuneConfig, settings, where).resolved(where)


def finetune_job(
    config: ConfigSource,
    parent: str | os.PathLike[str] | Potential | None,
    data: DataSource | None,
    **given: Any,
) -> FinetuneConfig:
    """Returns the configuration of a fine-tuning; see `tlpot.finetune`.

    Args:
        config: a YAML file, what is in one, or nothing.
        parent: the pretrained potential.
        data: the labels.
        given: other settings, which win; and ``epochs``, of the training.

    Raises:
        TLPotError: see `finetune_config` and `settings_with_data`.
    """
    model = parent if isinstance(parent, Potential) else None
    given["parent"] = parent if model is None else model.card.name
    if isinstance(given.get("strategy"), Strategy):
        given["strategy"] = strategy_settings(given["strategy"])
    given["training"] = with_epochs(given)
    settings, objects = settings_with_data(config, "finetune", data, **given)
    if data is not None:
        choose_only_level(settings, objects.dataset)
    if settings.get("report") is None:
        settings["report"] = {}
    found = finetune_config(settings, settings.where)
    return replace(
        found,
        data=replace(found.data, dataset=objects.dataset),
        split=objects.dividing(found.split, found.output),
        parent_model=model,
    )


def is_automatic(section: object) -> bool:
    """Whether a strategy, a name or a section, is ``auto``."""
    return (section.get("name") if isinstance(section, Mapping) else section) == AUTO


def automatic_settings(section: str | Mapping[str, Any], where: str) -> Automatic:
    """Returns the settings of the strategy ``auto``.

    Raises:
        ConfigError: a typo, or a value that makes no sense.
    """
    given = {} if isinstance(section, str) else {k: v for k, v in section.items() if k != "name"}
    return parse(Automatic, given, f"{where}: strategy {AUTO}")


def checked_strategy(section: object, where: str) -> Strategy:
    """Returns a strategy from its name or section.

    Raises:
        ConfigError: no such strategy, or a setting that it does not have.
    """
    if not isinstance(section, str | Mapping):
        raise ConfigError(f"{where}: strategy must be a name or a section, not {section!r}")
    name = section if isinstance(section, str) else section.get("name")
    if name is not None and name not in STRATEGY_NAMES:
        known = (*STRATEGY_NAMES, AUTO)
        raise ConfigError(f"{where}: unknown strategy {name!r}{nearest(str(name), known)}")
    try:
        return strategy(section)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
