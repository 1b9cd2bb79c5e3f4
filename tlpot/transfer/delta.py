"""Delta learning: a small network for the difference of two levels of theory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from ase.data import chemical_symbols

from tlpot.data import (
    Dataset,
    DifferenceDataset,
    Split,
    average_neighbors,
    energy_scale,
    force_scale,
    frames_of,
    with_any_label,
)
from tlpot.errors import ConfigError, DataError, UnknownLevelError
from tlpot.levels import choose_level, difference_level
from tlpot.models import Architecture, DeltaPotential, Potential, read_architecture
from tlpot.numbers import counted
from tlpot.transfer.pseudo_labels import low_values
from tlpot.transfer.strategy import Strategy, StrategyDefaults, TrainingData, TransferContext

PARENT = "parent"


@dataclass(frozen=True, kw_only=True)
class Delta(Strategy):
    """E_high = E_low + ΔE with a new network for ΔE (doi:10.1021/acs.jctc.5b00099).

    The network's output is zero at first: step 0 is the low level with the reference energies of
    the difference.

    Attributes:
        low: ``parent``, whose predictions are then part of the saved model; or a level of the
            dataset, whose labels are the low values, or an engine such as ``torch:FILE``, which
            computes them: the saved model then gives the difference alone and wants a calculator
            of that level (see `tlpot.DeltaCalculator`).
        low_labels: the file that keeps the values of an engine, by geometry; None for one beside
            the model. Several trainings may share it.
        model: ``preset`` (default tiny) and fields of `Architecture`; elements are the parent's
            unless given.
    """

    name: ClassVar[str] = "delta"
    defaults: ClassVar[StrategyDefaults | None] = StrategyDefaults(
        learning_rate=1e-2, weight_decay=5e-7
    )
    caution: ClassVar[str] = (
        "the labels, the reference energies and the errors are those of the difference, so the "
        "error at step 0 is that of the low level with shifted reference energies"
    )
    inherits: ClassVar[bool] = False
    learns_difference: ClassVar[bool] = True
    needs_levels: ClassVar[bool] = True

    low: str = PARENT
    low_labels: str | None = None
    model: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.known is not None:
            raise ConfigError(
                "known does not apply to a difference, which is added to the low value as it is; "
                f"strategy {{name: scratch, known: {self.known}}} is a network beside a line on it"
            )
        if self.model.get("zbl"):
            raise ConfigError(
                "model.zbl does not apply: the repulsion is in the low level already, and a "
                "difference has none"
            )
        if self.low == PARENT and self.low_labels is not None:
            raise ConfigError("low_labels does not apply to low=parent; leave it out")

    @property
    def summary(self) -> str:  # type: ignore[override]
        """What was done, for the model card."""
        if self.low == PARENT:
            return "a small network for the difference, added to"
        return f"a difference, to be added to {self.low}; elements as in"

    def training_data(self, context: TransferContext) -> TrainingData:
        """Returns the differences; frames without one are left out.

        Raises:
            UnknownLevelError: the dataset has no such low level; the message lists those it has.
            DataError: no frame of some part has labels of one kind at both levels.
        """
        dataset, split = context.dataset, context.split
        if self.low == PARENT:
            frames = np.unique(np.concatenate([split.train, split.validation, split.test]))
            low = low_values(context.parent, context.source, dataset, frames, context.level)
            seen = DifferenceDataset(dataset, context.level, low)
        else:
            seen = DifferenceDataset(dataset, context.level, context.low or self._low(context))
        kept = _with_both(split, seen)
        return TrainingData(dataset=seen, split=kept, levels=(seen.level,))

    @property
    def reads_source(self) -> bool:  # type: ignore[override]
        """With another low level, of the parent only elements and precision are used."""
        return self.low == PARENT

    def saved_level(self, context: TransferContext) -> str:
        """Returns the level of the sum, or the difference where the low level is not ours."""
        return context.level if self.low == PARENT else self._learned(context)

    def elements(self, context: TransferContext) -> tuple[int, ...]:
        """Returns the atomic numbers that the network knows."""
        return self._architecture(context).elements

    def start(self, context: TransferContext, references: Mapping[int, float]) -> Potential:
        """Returns the network of the difference, whose interaction energy is zero.

        Raises:
            ConfigError: the network lacks an element of the data.
        """
        architecture = self._architecture(context)
        dataset, train = context.dataset, context.split.train
        if "elements" in self.model:
            _check_elements(architecture, dataset, context.split)
        if "avg_neighbors" not in self.model:
            count = average_neighbors(dataset, train, architecture.cutoff)
            architecture = replace(architecture, avg_neighbors=count)
        level = self._learned(context)
        potential = Potential.create(
            architecture,
            {level: references},
            scale=(
                force_scale(dataset, train, [level])
                if "forces" in dataset.levels[level].kinds
                else energy_scale(dataset, train[dataset.labelled(level)[train]], level, references)
            ),
            seed=context.seed,
            dtype=context.parent.dtype,
            targets=context.targets,
        )
        potential.head(level).readout.silence()
        return potential.to(context.parent.device)

    def finish(self, potential: Potential, context: TransferContext) -> Potential | DeltaPotential:
        """Returns the sum with the parent, or the difference alone."""
        if self.low != PARENT:
            return potential
        potential.card = replace(potential.card, name=f"correction of {context.parent.card.name}")
        return DeltaPotential(context.parent.only(context.source), potential)

    def _low(self, context: TransferContext) -> str:
        if context.low is not None:
            return context.low.level
        levels = context.dataset.levels
        where = f"strategy.low: {context.dataset.path}"
        try:
            return choose_level(self.low, levels, where, option="strategy.low")
        except UnknownLevelError as error:
            raise UnknownLevelError(
                f"{error}; where the file has it under keys of its own, name both levels in a "
                "description (spec=..., docs/data.md)"
            ) from error

    def _learned(self, context: TransferContext) -> str:
        low = context.source if self.low == PARENT else self._low(context)
        return difference_level(context.level, low)

    def _architecture(self, context: TransferContext) -> Architecture:
        parent = context.parent
        settings = {"charge_spin": parent.architecture.charge_spin, **self.model}
        architecture = read_architecture(settings, parent.elements, "strategy.model")
        unknown = set(architecture.elements) - set(parent.elements)
        if self.low == PARENT and unknown:
            raise ConfigError(
                f"strategy.model.elements has {_symbols(unknown)}, which the parent does not know"
            )
        return architecture


def _with_both(split: Split, dataset: DifferenceDataset) -> Split:
    """Leaves out the frames without any difference, and says how many."""
    known = with_any_label(dataset, dataset.level)
    names = ("train", "validation", "test")
    parts = {name: getattr(split, name) for name in names}
    kept = {name: frames[known[frames]] for name, frames in parts.items()}
    for name, frames in parts.items():
        if len(frames) and not len(kept[name]):
            raise DataError(
                f"{dataset.path}: none of the {counted(len(frames), f'{name} frame')} has "
                f"energies, or forces, at both {dataset.high} and {dataset.low}; label them at "
                "both, or choose another low level"
            )
    n_lost = sum(map(len, parts.values())) - sum(map(len, kept.values()))
    if not n_lost:
        return split
    note = f"{split.by}, {counted(n_lost, 'frame')} without {dataset.low} left out"
    return replace(split, by=note, **kept)


def _check_elements(architecture: Architecture, dataset: Dataset, split: Split) -> None:
    frames = np.concatenate([split.train, split.validation, split.test])
    present = {
        int(z) for f in frames_of(dataset, frames, levels=()) for z in f.system.atomic_numbers
    }
    absent = present - set(architecture.elements)
    if absent:
        raise ConfigError(
            f"strategy.model.elements leaves out {_symbols(absent)}, which the frames of "
            f"{dataset.path} to learn and to test on have"
        )


def _symbols(numbers: set[int]) -> str:
    return ", ".join(chemical_symbols[z] for z in sorted(numbers))
