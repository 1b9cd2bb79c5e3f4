"""The transfer report of any saved model, with or without its parent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from tlpot.data import Dataset, load_split
from tlpot.errors import ConfigError, DataError
from tlpot.evaluation import ReportSettings, Subject, TransferReport, predict
from tlpot.jobs.data_sources import DataSettings, as_trained
from tlpot.jobs.transfer_examination import examine
from tlpot.levels import choose_level
from tlpot.models import load_potential


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
    """

    model: str
    data: DataSettings
    level: str | None = None
    model_level: str | None = None
    parent: str | None = None
    source: str | None = None
    split: Path | None = None
    part: Literal["train", "validation", "test"] = "test"
    report: ReportSettings = field(default_factory=ReportSettings)

    def __post_init__(self) -> None:
        if not self.report.enabled:
            raise ConfigError("report.enabled=false does not apply to a report; leave it out")
        if self.source is not None and self.parent is None:
            raise ConfigError("source is a level of the parent, but no parent is given")


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
    potential = load_potential(config.model, device=device)
    dataset = as_trained(config.data.open(), potential)
    level = choose_level(config.level, dataset.levels, str(dataset.path))
    wanted = config.model_level or (level if level in potential.levels else None)
    model = potential.at(
        choose_level(wanted, potential.levels, f"the model {config.model}", option="model-level")
    )
    parent = None
    if config.parent is not None:
        made_from = load_potential(config.parent, device=device)
        source = choose_level(
            config.source, made_from.levels, f"the parent {config.parent}", option="source"
        )
        parent = made_from.at(source)
    if config.split is None:
        indices, part = _labelled(dataset, level), "all"
    else:
        indices, part = getattr(load_split(config.split, dataset), config.part), config.part
    if not len(indices):
        raise DataError(f"{dataset.path}: there are no {part} frames to look at for {level}")
    end = predict(model, dataset, indices, level, device=potential.device, show=show)
    subject = Subject(
        potential=potential, level=model.level, dataset=dataset, indices=indices, part=part, end=end
    )
    return examine(
        subject,
        config.report,
        parent=parent,
        labels=lambda: as_trained(config.data.open_all_levels(), potential),
        show=show,
    )


def _labelled(dataset: Dataset, level: str) -> np.ndarray:
    known = [dataset.labelled(level, kind) for kind in sorted(dataset.levels[level].kinds)]
    return np.flatnonzero(np.logical_or.reduce(known))
