"""Fine-tuning that rehearses the old level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tlpot.config import LATER, check_least
from tlpot.data import Dataset, DatasetWithLabels, JoinedDataset
from tlpot.errors import ConfigError, DataError
from tlpot.models import Potential, level_parameters
from tlpot.numbers import Ints
from tlpot.transfer.pseudo_labels import labelled_by_parent, pseudo_labels
from tlpot.transfer.strategy import (
    SMALL_RATE,
    SourceLabels,
    Strategy,
    StrategyDefaults,
    TrainingData,
    TransferContext,
    check_source,
    mixed_in,
    open_source,
    source_frames,
)


@dataclass(frozen=True, kw_only=True)
class Replay(Strategy):
    """Old and new level are learned together, so that the old one is not forgotten.

    Old labels are the parent's own predictions (pseudo-labels) for the training frames or for
    those and structures of some files, or labels of the data that it was trained on. Both levels
    are kept, and the errors of the old one are reported with every validation: with
    pseudo-labels, on the validation frames.
    Where the labels are more of the parent's own level, they count as they are, and only frames
    without one get pseudo-labels.

    Attributes:
        files: source data; none for pseudo-labels.
        spec: layout of the source data, if it is not tlpot's own.
        labels: ``parent`` for files of structures without labels of the parent's level, which it
            labels itself; not without `files`.
        frames: number of frames taken from the source data, at random; not without `files`.
        weight: of the old level in the loss, relative to the new one.
        share: of an epoch that has labels of the new level, default 0.5; not without `files`.
            An epoch has each of these frames once; those of the source data take turns in the
            rest of it.
    """

    name: ClassVar[str] = "replay"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE
    needs_levels: ClassVar[bool] = True
    keeps_levels: ClassVar[bool] = True

    files: tuple[Path, ...] = ()
    spec: str | Mapping[str, Any] | None = None
    labels: SourceLabels = field(default="file", metadata=LATER)
    frames: int | None = None
    weight: float = 1.0
    share: float | None = None

    def __post_init__(self) -> None:
        if not self.files:
            for name in ("frames", "share"):
                if getattr(self, name) is not None:
                    raise ConfigError(
                        f"{name} does not apply without files: the old labels are then the "
                        "parent's predictions for the training frames"
                    )
        check_source(self.files, self.labels, self.spec)
        if not 0 < self.weight < 1e6:
            raise ConfigError(f"weight is {self.weight}, expected a positive number")
        check_least(self, frames=1)
        if self.share is not None and not 0 < self.share < 1:
            raise ConfigError(f"share is {self.share}, expected 0 < share < 1")

    @property
    def summary(self) -> str:  # type: ignore[override]
        """What was done, for the model card."""
        if self.labels == "parent":
            files = ", ".join(path.name for path in self.files)
            what = f"its own predictions for {files}"
        else:
            what = "the old level" if self.files else "its own predictions"
        return f"all weights fine-tuned, rehearsing {what}, from"

    @property
    def caution(self) -> str:  # type: ignore[override]
        """What the errors of the old level are measured against."""
        if self.files and self.labels == "file":
            return ""
        return (
            "labels of the old level, where they are not the ones to learn, are the parent's own "
            "predictions: errors against them say how far the model has moved away from the "
            "parent, not from the truth"
        )

    def training_data(self, context: TransferContext) -> TrainingData:
        """Returns the data with labels of both levels.

        Raises:
            DataError: the source data cannot be read, or has no frame with a label.
            UnknownLevelError: the source data does not have the parent's level.
        """
        split, source = context.split, context.source
        same = source == context.level
        levels = (source,) if same else (context.level, source)
        weights = {} if same else {source: self.weight}
        if not self.files and same:
            return self._unlabelled(context)
        dataset = context.dataset
        if not same and (not self.files or self.labels == "parent"):
            seen = np.concatenate([split.train, split.validation])
            found = pseudo_labels(context.parent, source, dataset, seen)
            dataset = DatasetWithLabels(dataset, source, seen, found, replace=True)
        if not self.files:
            return TrainingData(dataset=dataset, split=split, levels=levels, weights=weights)
        if self.labels == "parent":
            old = labelled_by_parent(self.files, self.spec, context, self.frames)
        else:
            old = open_source(self.files, self.spec, context)
        joined = JoinedDataset([dataset, old])
        rehearsed = len(context.dataset) + self._chosen(old, context)
        return TrainingData(
            dataset=joined,
            split=split,
            levels=levels,
            weights=weights,
            others=rehearsed,
            n_others=self.epoch_frames(len(split.train)) - len(split.train),
        )

    def epoch_frames(self, n_train: int) -> int:
        """Returns how many frames an epoch has at most."""
        share = 0.5 if self.share is None else self.share
        return n_train + (mixed_in(n_train, share) if self.files else 0)

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Everything moves, the old level's readout too."""
        names = {n for other in potential.levels for n in level_parameters(potential, other)}
        return {n: 1.0 for n, _ in potential.named_parameters() if n in names}

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the parent with its source level and the new one."""
        return super().start(
            replace(context, parent=context.parent.only(context.source)), references
        )

    def _unlabelled(self, context: TransferContext) -> TrainingData:
        """Returns the labels, and the parent's predictions for frames that have none."""
        dataset, split, level = context.dataset, context.split, context.level
        frames = np.flatnonzero(~dataset.labelled(level))
        found = pseudo_labels(context.parent, level, dataset, frames) if len(frames) else []
        return TrainingData(
            dataset=DatasetWithLabels(dataset, level, frames, found),
            split=split,
            levels=(level,),
            others=frames,
            n_others=min(len(frames), mixed_in(len(split.train), 0.5)),
        )

    def _chosen(self, old: Dataset, context: TransferContext) -> Ints:
        order = source_frames(old, context)
        n = len(order) if self.frames is None else self.frames
        if n > len(order):
            raise DataError(
                f"strategy.frames is {n}, but {old.path} has {len(order)} frames "
                f"with an energy at {context.source}"
            )
        return np.sort(order[:n])
