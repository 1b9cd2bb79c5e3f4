"""All levels of theory at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlpot.data import kept_kinds
from tlpot.errors import ConfigError, UnknownLevelError, nearest
from tlpot.levels import canonical_level
from tlpot.models import Potential, fixed_parameters
from tlpot.transfer.strategy import (
    SMALL_RATE,
    Strategy,
    StrategyDefaults,
    TrainingData,
    TransferContext,
    mixed_in,
)


@dataclass(frozen=True, kw_only=True)
class Multihead(Strategy):
    """One body learns several levels of the dataset jointly, each with a readout of its own.

    Cheap labels with forces hold the body while few expensive ones, perhaps energies only,
    teach the difference. Frames that lack the new level are used too, except those of the
    validation and test sets (and other frames of their molecules, if the data is divided by
    molecule).

    Attributes:
        levels: the other levels; empty for all that the dataset has.
        weight: of each other level in the loss, relative to the new one.
        share: of an epoch that has labels of the new level. An epoch has each of these frames
            once; the others take turns in the rest of it.
    """

    name: ClassVar[str] = "multihead"
    summary: ClassVar[str] = "all levels learned jointly, starting from"
    defaults: ClassVar[StrategyDefaults | None] = SMALL_RATE
    needs_levels: ClassVar[bool] = True
    keeps_levels: ClassVar[bool] = True

    levels: tuple[str, ...] = ()
    weight: float = 1.0
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.weight < 1e6:
            raise ConfigError(f"weight is {self.weight}, expected a positive number")
        if not 0 < self.share < 1:
            raise ConfigError(f"share is {self.share}, expected 0 < share < 1")

    def training_data(self, context: TransferContext) -> TrainingData:
        """Returns all frames that may be learned from.

        Raises:
            ConfigError: the dataset has no other level.
            UnknownLevelError: it does not have one of `levels`.
        """
        dataset, split, level = context.dataset, context.split, context.level
        others = tuple(map(canonical_level, self.levels)) or tuple(
            name for name in dataset.levels if name != level
        )
        for name in others:
            if name not in dataset.levels:
                raise UnknownLevelError(
                    f"{dataset.path} has no level {name!r}{nearest(name, dataset.levels)}"
                )
            if name == level:
                raise ConfigError(f"strategy.levels names {level}, which is learned anyway")
        if not others:
            raise ConfigError(
                f"{dataset.path} has labels at {level} only, so there is nothing to learn "
                "jointly; use 'replay', which takes the other labels from the parent, or, where "
                "the file has others under keys of their own, name these in a description "
                "(spec=..., docs/data.md)"
            )
        labelled = np.any([dataset.labelled(name) for name in others], axis=0)
        held = np.concatenate([split.validation, split.test])
        labelled[held] = False
        labelled[split.train] = False
        kinds = kept_kinds(dataset, split.by)
        if kinds is not None:
            whole = split.test if split.by.startswith("random") else held
            labelled &= ~np.isin(kinds, kinds[whole])
        extra = np.flatnonzero(labelled)
        return TrainingData(
            dataset=dataset,
            split=split,
            levels=(level, *others),
            weights=dict.fromkeys(others, self.weight),
            others=extra,
            n_others=mixed_in(len(split.train), self.share),
        )

    def epoch_frames(self, n_train: int) -> int:
        """Returns how many frames an epoch has at most."""
        return n_train + mixed_in(n_train, self.share)

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns a potential with a readout for each level.

        A level that the parent has keeps its readout; others inherit the source level's.
        """
        targets = context.targets
        potential = context.parent.with_level(
            context.level, references, parent=context.source, target=targets.get(context.level)
        )
        for name, energies in context.others.items():
            kept = name if name in context.parent.levels else context.source
            potential = potential.with_level(name, energies, parent=kept, target=targets.get(name))
        return potential.keeping((context.level, *context.others))

    def rates(self, potential: Potential, level: str) -> Mapping[str, float]:
        """Everything moves."""
        fixed = fixed_parameters(potential)
        return {name: 1.0 for name, _ in potential.named_parameters() if name not in fixed}
