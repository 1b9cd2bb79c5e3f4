"""The transfer report of any saved model, with or without its parent."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from tlpot.config import IN_MEMORY, job_settings, parse
from tlpot.data import DataSource
from tlpot.errors import ConfigError, DataError
from tlpot.evaluation import EvaluatedModel, ReportSettings, TransferReport, predict
from tlpot.jobs.data_sources import (
    ConfigSource,
    DataSettings,
    SplitPart,
    as_trained,
    settings_with_data,
)
from tlpot.jobs.evaluate import frames_of_part, level_of
from tlpot.jobs.transfer_examination import examine
from tlpot.levels import choose_level
from tlpot.models import Potential, load_potential


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """A report on a saved model.

    Attributes:
        model: file or name of the model.
        data: the labels.
        level: level of theory of the labels; may be left out if there is only one.
        model_level: level of the model; that of the labels if left out.
        parent: file or name of the model that it was made from, to compare with.
        source: level of the parent; needed if it has several.
        split: a stored split; all frames with a label if left out.
        part: which part of the split.
        report: what to look at.
        loaded: the model itself; `model` is then only what it is called.
        parent_model: the parent itself; `parent` is then only what it is called.
    """

    model: str
    data: DataSettings
    level: str | None = None
    model_level: str | None = None
    parent: str | None = None
    source: str | None = None
    split: Path | None = None
    part: SplitPart = "test"
    report: ReportSettings = field(default_factory=ReportSettings)
    loaded: Potential | None = field(default=None, compare=False, repr=False, metadata=IN_MEMORY)
    parent_model: Potential | None = field(
        default=None, compare=False, repr=False, metadata=IN_MEMORY
    )

    def __post_init__(self) -> None:
        if not self.report.enabled:
            raise ConfigError("report.enabled=false does not apply to a report; leave it out")
        if self.source is not None and self.parent is None:
            raise ConfigError("source is a level of the parent, but no parent is given")


def report_job(
    config: ConfigSource,
    model: str | os.PathLike[str] | Potential | None,
    data: DataSource | None,
    *,
    parent: str | os.PathLike[str] | Potential | None = None,
    **given: Any,
) -> ReportConfig:
    """Returns the configuration of a report; see `tlpot.report`.

    Args:
        config: a YAML file, what is in one, or nothing.
        model: what to report on.
        data: the labels.
        parent: of the model.
        given: other settings, which win.

    Raises:
        TLPotError: a typo, or a value that makes no sense; see `settings_with_data`.
    """
    loaded = {
        key: source if isinstance(source, Potential) else None
        for key, source in (("model", model), ("parent", parent))
    }
    names = {
        key: source.card.name if isinstance(source, Potential) else source
        for key, source in (("model", model), ("parent", parent))
    }
    split = given.pop("split", None)  # a file, and no section as for a training
    settings, dataset = settings_with_data(config, "report", data, **names, **given)
    found = parse(ReportConfig, job_settings(settings, "report", split=split), settings.where)
    return replace(
        found,
        data=replace(found.data, dataset=dataset),
        loaded=loaded["model"],
        parent_model=loaded["parent"],
    )


def make_report(
    config: ReportConfig, *, device: torch.device | str | None = None, show: bool = False
) -> TransferReport:
    """Evaluates a saved model and looks at it from all sides.

    Args:
        config: what to report on.
        device: None is CUDA if there is one, else the CPU.
        show: whether to show progress bars.

    Raises:
        TLPotError: something is wrong with the models, the data or the settings.
    """
    potential = config.loaded or load_potential(config.model, device=device)
    dataset = as_trained(config.data.open(), potential)
    level = choose_level(config.level, dataset.levels, str(dataset.path))
    model = level_of(potential, config.model, level, config.model_level)
    parent = None
    if config.parent is not None:
        made_from = config.parent_model or load_potential(config.parent, device=device)
        source = choose_level(
            config.source, made_from.levels, f"the parent {config.parent}", option="source"
        )
        parent = made_from.at(source)
    part = "all" if config.split is None else config.part
    stored = None if config.split is None else (config.split, config.part)
    indices = frames_of_part(dataset, level, stored)
    if not len(indices):
        raise DataError(f"{dataset.path}: there are no {part} frames to look at for {level}")
    end = predict(model, dataset, indices, level, device=potential.device, show=show)
    evaluated = EvaluatedModel(
        potential=potential, level=model.level, dataset=dataset, indices=indices, part=part, end=end
    )
    return examine(
        evaluated,
        config.report,
        parent=parent,
        labels=lambda: as_trained(config.data.open_all_levels(), potential),
        show=show,
    )
