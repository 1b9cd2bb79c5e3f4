"""Errors on fragments before and after each training of a build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlpot.building.labels import LABELS, labels_of
from tlpot.building.pretraining import Pretraining
from tlpot.building.split import TRAINED, pretraining_use
from tlpot.building.stage import StageContext
from tlpot.building.training import MODEL, RUN_SPLIT, SPLIT
from tlpot.building.validation import FORCE_FIELD
from tlpot.data import Dataset, load_split
from tlpot.jobs import FinetuneConfig, SplitSettings
from tlpot.levels import difference_parts
from tlpot.models import TrainedModel, load
from tlpot.reports import LabelledFragments, StageErrors, measure_stage

Frames = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """A model to be held against labels."""

    title: str
    model: TrainedModel
    level: str
    labels: str
    dataset: Dataset
    frames: Frames
    train: Frames | None
    shift_on: Frames | None = None
    part: str = "test frames"


def stage_errors(
    work: StageContext,
    dataset: Dataset,
    pretraining: Pretraining,
    tuning: FinetuneConfig,
    tuned: str,
) -> list[StageErrors]:
    """Measures errors on frames that no model in question was trained on, as far as there are any.

    Where the expensive labels have too few that the pretraining left out, or a parent was trained
    elsewhere, the part says so.

    Args:
        work: of the report's stage.
        dataset: all labels, as the model sees them.
        pretraining: how the model of the cheap level was made.
        tuning: how it was fine-tuned.
        tuned: stage with the last model.

    Raises:
        DataError: a file is damaged.
    """
    low, high = pretraining.level, tuning.level
    cheap = labels_of([work.of("low", LABELS)], pretraining.data.charges == "ignore")
    own = load_split(work.of("pretrain", RUN_SPLIT), cheap)
    split = SplitSettings(file=work.of(tuned, SPLIT), train=tuning.split.train).divide(
        dataset, high
    )
    pretrained = load(work.of("pretrain", MODEL), device=work.device)
    model = load(work.of("assemble", FORCE_FIELD), device=work.device)
    held = split.test if len(split.test) else split.validation
    part = "test frames" if len(split.test) else "validation frames"
    own_part = "test frames" if len(own.test) else "validation frames"
    seen = int((pretraining_use(cheap, own, dataset)[held] == TRAINED).sum())
    if seen:
        part += f", {seen} of {len(held)} pretrained on"
    adopted = pretraining.config is None
    if adopted and pretraining.split is None:
        own_part = "all labels of this build"
    if pretraining.parent is not None:
        part, own_part = (f"{each}, of which the parent may know some" for each in (part, own_part))
    plan = [
        _Comparison(
            title="adopted parent" if adopted else "pretrained", model=pretrained, level=low,
            labels=low, dataset=cheap, frames=own.test if len(own.test) else own.validation,
            train=None if adopted else own.train,
            part=own_part,
        ),
        _Comparison(
            title="before transfer", model=pretrained, level=low, labels=high, dataset=dataset,
            frames=held, train=None, shift_on=split.train, part=part,
        ),
        _Comparison(
            title="after transfer", model=model, level=high, labels=high, dataset=dataset,
            frames=held, train=split.train, part=part,
        ),
    ]  # fmt: skip
    if low in model.levels and difference_parts(low) is None:
        plan.append(
            _Comparison(
                title="after transfer, low head",
                model=model,
                level=low,
                labels=low,
                dataset=dataset,
                frames=held,
                train=None,
                part=part,
            )
        )
    return [
        measure_stage(
            one.model.at(one.level),
            LabelledFragments(
                dataset=one.dataset, indices=one.frames, part=one.part, train=one.train
            ),
            title=one.title, model=one.model.card.name or "model", model_level=one.level,
            label_level=one.labels, shift_on=one.shift_on, device=one.model.device,
        )
        for one in plan
    ]  # fmt: skip


def without_points(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the plain dicts of a `StageErrors` without the energies of single frames."""
    return {key: value for key, value in stage.items() if key != "relative_energies_per_atom"}
