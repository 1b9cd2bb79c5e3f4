"""What a learning curve is made of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tlpot import jobs
from tlpot.config import check_least, parse
from tlpot.data import DataSource
from tlpot.errors import ConfigError
from tlpot.files import PathLike, make_folder
from tlpot.models import Potential, save, to_bytes
from tlpot.transfer import strategy, strategy_settings

_TEST = 0.2
"""Share of the test frames where the configuration names none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveConfig:
    """Nested subsets x strategies x seeds on one split.

    Attributes:
        parents: files or names of pretrained potentials. With several, which should differ in
            the number of labels they were pretrained with, each gets its curves.
        data: the labels.
        level: level of theory to learn.
        strategies: names, or sections with a ``name`` and settings of the strategy; a section
            may have a ``label`` to be called by and a ``training`` section of its own.
        sizes: numbers of training frames.
        output: the folder to write.
        seeds: repeats: other new weights, another order, and other subsets.
        subsets: ``by_seed`` draws other training frames for each seed, so that the spread
            contains the luck of the draw; ``shared`` gives all seeds the same. Both are nested.
        updates: train each point for so many updates, whatever its size and whatever other data
            its strategy mixes in; instead of training.epochs.
        source: level of the parents to start from; needed if they have several.
        references: as for a fine-tuning.
        split: of the data; the same validation and test frames for all points. By default a
            fifth is for testing.
        training: settings for all strategies that train; a strategy's recipe applies to what is
            not set.
        keep_models: keep the models in the folder ``models``.
        licence: of the models.
    """

    parents: tuple[str, ...]
    data: jobs.DataSettings
    level: str
    strategies: tuple[str | Mapping[str, Any], ...]
    sizes: tuple[int, ...]
    output: Path
    seeds: int = 3
    subsets: Literal["by_seed", "shared"] = "by_seed"
    updates: int | None = None
    source: str | None = None
    references: jobs.ReferenceMethod | None = None
    split: jobs.SplitSettings = field(default_factory=lambda: jobs.SplitSettings(test=_TEST))
    training: Mapping[str, Any] = field(default_factory=dict)
    keep_models: bool = False
    licence: str = "not stated"

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.data.assuming(self.level))
        for name in ("parents", "strategies", "sizes"):
            values = list(getattr(self, name))
            if not values:
                raise ConfigError(f"{name} is empty; expected one or more")
            twice = [v for k, v in enumerate(values) if v in values[:k]]
            if twice:
                raise ConfigError(f"{name} names {twice[0]!r} twice")
        if min(self.sizes) < 1 or self.seeds < 1:
            raise ConfigError(
                f"sizes and seeds must be positive, not {list(self.sizes)} and {self.seeds}"
            )
        if self.split.train is not None:
            raise ConfigError("split.train does not apply; sizes says how many frames are used")
        if "seed" in self.training:
            raise ConfigError("training.seed does not apply; seeds says how many repeats there are")
        check_least(self, updates=1)
        if self.updates is not None:
            _refuse_with_updates(self.training, "training")
        self.compared_strategies()

    def compared_strategies(self) -> tuple[ComparedStrategy, ...]:
        """Returns the strategies with their settings.

        Raises:
            ConfigError: an unknown strategy or setting, or two of the same label.
        """
        found = [_compared(entry, self.updates is not None) for entry in self.strategies]
        labels = [c.label for c in found]
        for k, label in enumerate(labels):
            if label in labels[:k]:
                raise ConfigError(f"two strategies are called {label!r}; give one a label: ...")
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedStrategy:
    """A strategy as it takes part.

    Attributes:
        label: in tables and pictures.
        strategy: its name and all its settings.
        training: its own training settings, beside those for all.
        trains: whether it trains anything by gradients.
    """

    label: str
    strategy: Mapping[str, Any]
    training: Mapping[str, Any]
    trains: bool

    @property
    def is_scratch(self) -> bool:
        """Whether nothing of the parent is used but its shape."""
        return self.strategy["name"] == "scratch"


ParentSource = PathLike | Potential
"""A file or name of a pretrained potential, or one that is loaded."""


def curve_job(
    config: jobs.ConfigSource,
    parents: ParentSource | Sequence[ParentSource] | None,
    data: DataSource | None,
    **given: Any,
) -> CurveConfig:
    """Returns the configuration of a curve; see `tlpot.learning_curve`.

    Settings that are given win over those of `config`.

    Raises:
        TLPotError: see `curve_config` and `settings_with_data`.
    """
    several: list[ParentSource] = []
    if isinstance(parents, str | os.PathLike | Potential):
        several = [parents]
    elif parents is not None:
        several = list(parents)
    if several:
        given["parents"] = [
            f"loaded model {k}" if isinstance(parent, Potential) else os.fspath(parent)
            for k, parent in enumerate(several)
        ]
    settings, objects = jobs.settings_with_data(config, "curve", data, **given)
    if data is not None:
        jobs.choose_only_level(settings, objects.dataset)
    found = curve_config(settings, settings.where)
    if any(isinstance(parent, Potential) for parent in several):
        found = replace(found, parents=tuple(stored_parents(several, found.output)))
    return replace(
        found,
        data=replace(found.data, dataset=objects.dataset),
        split=objects.dividing(found.split),
    )


def stored_parents(parents: Sequence[ParentSource], output: Path) -> list[str]:
    """Returns files or names; a loaded potential is written where workers can read it."""
    names = []
    for parent in parents:
        if isinstance(parent, Potential):
            digest = hashlib.sha256(to_bytes(parent)).hexdigest()
            file = output / "parents" / f"{digest[:16]}.safetensors"
            if not file.exists():
                make_folder(file.parent)
                save(parent, file)
            names.append(str(file))
        else:
            names.append(os.fspath(parent))
    return names


def curve_config(settings: Mapping[str, Any], where: str = "curve") -> CurveConfig:
    """Reads a configuration.

    Raises:
        ConfigError: a typo, or a value that makes no sense.
    """
    settings = dict(settings)
    if isinstance(settings.get("parents"), str):
        settings["parents"] = [settings["parents"]]
    split = settings.get("split")
    if isinstance(split, Mapping) and split.get("file") is None:
        settings["split"] = {"test": _TEST, **split}
    return parse(CurveConfig, settings, where)


def _compared(entry: str | Mapping[str, Any], updates: bool) -> ComparedStrategy:
    section: dict[str, Any] = {"name": entry} if isinstance(entry, str) else dict(entry)
    if "name" not in section:
        raise ConfigError(f"strategies: {entry!r} has no name")
    label = section.pop("label", None)
    training = section.pop("training", {})
    if section["name"] == jobs.AUTO:
        raise ConfigError(
            "strategies: 'auto' compares strategies itself, for each number of labels anew; name "
            "those that the curve is to compare, and give auto to tlpot finetune"
        )
    if not isinstance(training, Mapping):
        raise ConfigError(f"strategies: training of {section['name']!r} must be a section")
    if updates:
        _refuse_with_updates(training, f"strategy {section['name']}: training")
    chosen = strategy(section)
    changed = [f"{k}={_short(v)}" for k, v in section.items() if k != "name"]
    return ComparedStrategy(
        label=str(label) if label is not None else " ".join([chosen.name, *changed]),
        strategy=strategy_settings(chosen),
        training=dict(training),
        trains=chosen.defaults is not None,
    )


def _refuse_with_updates(training: Mapping[str, Any], where: str) -> None:
    for key in ("epochs", "max_atoms"):
        if key in training:
            raise ConfigError(f"{where}.{key} does not apply when updates is given; drop one")


def _short(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "+".join(str(v) for v in value)
    return str(value)
