"""What a transfer strategy decides and starts from; the training loop knows nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from tlpot.config import LATER
from tlpot.data import (
    Dataset,
    LowValues,
    NeutralDataset,
    SpecSource,
    Split,
    open_dataset,
    with_difference,
)
from tlpot.errors import ConfigError, DataError, UnknownLevelError, nearest
from tlpot.levels import difference_parts
from tlpot.models import DeltaPotential, Potential, PropertyTarget, level_parameters
from tlpot.numbers import Ints
from tlpot.transfer.adaptation import Adaptation


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyDefaults:
    """Training settings that suit a strategy, used where the user sets nothing.

    Attributes:
        learning_rate: peak rate.
        ema: decay of the averaged weights.
        clip: largest gradient norm.
        weight_decay: towards zero, hence 0 when starting from a parent.
    """

    learning_rate: float
    ema: float = 0.99
    clip: float = 10.0
    weight_decay: float = 0.0


# rates of fine-tuning guides are a tenth to a fifth of those from scratch
SMALL_RATE = StrategyDefaults(learning_rate=2e-3)
"""For weights that start at the parent's and all move."""

LARGE_RATE = StrategyDefaults(learning_rate=1e-2)
"""For few weights, or fresh ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferContext:
    """A pretrained potential and labels of another level.

    Attributes:
        parent: the potential; strategies leave it alone.
        source: the level of the parent to start from, canonical.
        level: the level to learn, canonical.
        dataset: where the labels come from.
        split: its division; strategies look at the training frames only.
        seed: of weights that are drawn anew, and of samples.
        others: E0 of the other levels that are learned, by level and atomic number, eV; those
            of a level that the parent has are the parent's.
        cache: folder for what is costly to evaluate again; None to keep nothing.
        low: what an engine that the strategy names says of the frames; None if it names none.
        targets: the properties among the levels that are learned, by level.
    """

    parent: Potential
    source: str
    level: str
    dataset: Dataset
    split: Split
    seed: int = 0
    others: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    cache: Path | None = None
    low: LowValues | None = None
    targets: Mapping[str, PropertyTarget] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """What the training sees.

    Attributes:
        dataset: frames and labels.
        split: which of them are for what; of the training frames, every epoch has all.
        others: further training frames, of which an epoch has only some, in turns.
        n_others: how many.
        levels: levels of theory that are learned; the first is the one that counts.
        weights: factor of the loss by level; 1 for those not named.
    """

    dataset: Dataset
    split: Split
    levels: tuple[str, ...]
    weights: Mapping[str, float] = field(default_factory=dict)
    others: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    n_others: int = 0


def mixed_in(n_train: int, share: float) -> int:
    """Returns the number of other frames beside which `n_train` frames are `share` of all.

    An epoch then grows with the labels of the new level, not with the other data, of which
    there may be a thousand times as much.
    """
    return round(n_train * (1.0 - share) / share)


SourceLabels = Literal["file", "parent"]
"""Who says what the parent's level is at source data: its files, or the parent itself."""


def check_source(files: Sequence[Path], labels: SourceLabels, spec: SpecSource | None) -> None:
    """Checks settings of source data.

    Raises:
        ConfigError: settings that do not apply where there is none.
    """
    if labels == "parent" and not files:
        raise ConfigError(
            "labels=parent does not apply without files: the training geometries then stand in, "
            "and labels of the old level are the parent's anyway"
        )
    if spec is not None and not files:
        raise ConfigError("spec does not apply without files: it is the layout of these")


def open_source(
    files: Sequence[Path], spec: SpecSource | None, context: TransferContext
) -> Dataset:
    """Opens the source data.

    Args:
        files: as for `open_dataset`.
        spec: their layout, if it is not tlpot's own.
        context: whose parent has learned them.

    Raises:
        DataError: it cannot be read, or has no frame with an energy at the parent's level, or
            elements that the parent does not know.
    """
    source = context.source
    remedy = "strategy.labels=parent takes the structures alone and lets the parent label them"
    try:
        if difference_parts(source) is None:
            old = open_dataset(list(files), spec, level=source)
        else:
            old = with_difference(open_dataset(list(files), spec), source)
    except (DataError, UnknownLevelError) as error:
        if not all(path.is_file() for path in files):
            raise
        raise type(error)(f"{error}. {remedy}") from error
    if source not in old.levels:
        raise DataError(
            f"{old.path} has no labels at the parent's level {source!r}"
            f"{nearest(source, old.levels)}; {remedy}"
        )
    foreign = set(old.elements) - set(context.parent.elements)
    if foreign:
        raise DataError(f"{old.path}: the parent does not know the elements {sorted(foreign)}")
    if not old.labelled(source).any():
        raise DataError(f"{old.path}: no frame has an energy at {source}")
    # a model that reads no charges has read none of these either
    return NeutralDataset(old) if isinstance(context.dataset, NeutralDataset) else old


def source_frames(old: Dataset, context: TransferContext) -> Ints:
    """Returns the frames of the source data with an energy at the parent's level, shuffled."""
    labelled = np.flatnonzero(old.labelled(context.source))
    return np.random.default_rng([context.seed, 3]).permutation(labelled)


Penalty = Callable[[nn.Module, int], Tensor]
"""Added to the loss of each batch, from the model and the number of updates made."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Which weights start where, which of them move how fast, and on what data.

    A strategy is a frozen dataclass whose fields are its settings, so that a setting of another
    strategy is an unknown key. What is not overridden: everything starts at the parent's
    weights, all of them move at the full rate, and only the new level is learned and kept.

    Attributes:
        known: a property of the dataset that the model is told of each structure, such as a gap
            at a cheaper level: step 0 is a line on it, and regressors have it as a feature. None
            for a model that sees the structure only.
        adapt: towards structures without labels that the model is for; properties only.
    """

    name: ClassVar[str]
    """As written on the command line."""
    summary: ClassVar[str]
    """What was done, for the model card: ``all weights fine-tuned from``."""
    defaults: ClassVar[StrategyDefaults | None]
    """Defaults of the training settings; None if nothing is trained by gradients."""
    caution: ClassVar[str] = ""
    """What the user should know before choosing it; empty if nothing."""
    energy_caution: ClassVar[str] = ""
    """The same of energies and forces, which says nothing of a property."""
    inherits: ClassVar[bool] = True
    """Whether the model at step 0 is the parent, so that E0s are fitted on its residuals."""
    learns_difference: ClassVar[bool] = False
    """Whether the labels are differences of levels, of which the parent's E0s say nothing."""
    needs_levels: ClassVar[bool] = False
    """Whether labels of other levels than the one to learn are of use, if the data has them."""
    keeps_levels: ClassVar[bool] = False
    """Whether the parent's levels stay in the model, as good as they were."""
    reads_source: ClassVar[bool] = True
    """Whether it matters from which level of the parent it starts."""

    known: str | None = field(default=None, metadata=LATER)
    adapt: Adaptation | None = field(default=None, metadata=LATER)

    @property
    def learns_forces(self) -> bool:
        """Whether a frame with forces alone teaches it something; of an engine none does."""
        return self.defaults is not None

    def training_data(self, context: TransferContext) -> TrainingData:
        """Returns what the training sees."""
        return TrainingData(dataset=context.dataset, split=context.split, levels=(context.level,))

    def epoch_frames(self, n_train: int) -> int:
        """Returns how many frames an epoch has at most, with `n_train` frames of the new level."""
        return n_train

    def elements(self, context: TransferContext) -> tuple[int, ...]:
        """Returns the atomic numbers that the model of `start` knows."""
        return context.parent.elements

    def saved_level(self, context: TransferContext) -> str:
        """Returns the level of the saved model that answers to the first that is learned."""
        return context.level

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the model before the first update.

        Args:
            context: where we are, with the dataset and the split of `training_data`.
            references: E0 of the first level of `training_data` by atomic number, eV.
        """
        level, target = context.level, context.targets.get(context.level)
        grown = context.parent.with_level(level, references, parent=context.source, target=target)
        return grown if self.keeps_levels else grown.only(context.level)

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Returns the learning-rate factor of each weight that moves; the others are fixed.

        None moves without a `defaults`.

        Args:
            potential: what `start` returned.
            level: the one to learn.
        """
        moving = () if self.defaults is None else level_parameters(potential, level)
        return dict.fromkeys(moving, 1.0)

    def release(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Returns the share of the training after which a weight begins to move, if not at once."""
        return {}

    def penalty(self, potential: Potential, context: TransferContext) -> Penalty | None:
        """Returns what is added to the loss; `potential` is what `start` returned."""
        return None

    def finish(self, potential: Potential, context: TransferContext) -> Potential | DeltaPotential:
        """Returns the trained model in the form that is saved."""
        return potential
