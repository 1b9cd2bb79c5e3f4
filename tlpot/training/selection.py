"""Errors on held-out frames, and which weights a training keeps by them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import torch

from tlpot.data import Dataset, LabelKind, Loader, Split
from tlpot.evaluation import Metrics
from tlpot.models import Potential
from tlpot.numbers import Ints
from tlpot.training.loss import batch_loss, quantity_of, weighted
from tlpot.training.processes import Processes
from tlpot.training.settings import ErrorKind, LossSettings


def validate(
    potential: Potential,
    loader: Loader,
    levels: tuple[str, ...],
    settings: LossSettings,
    processes: Processes,
    *,
    n_deciding: int = 1,
) -> tuple[float, dict[str, Metrics]]:
    """Returns the loss of the levels that decide, and the errors of every level.

    Args:
        potential: the model.
        loader: its batches of epoch 0.
        levels: canonical names.
        settings: weights and shape of the loss.
        processes: those that share the batches; each gets the same result.
        n_deciding: how many of the levels, from the first, the loss is of.
    """
    device = potential.device
    n_kinds = len(settings.weights)
    sums = torch.zeros(len(levels), n_kinds, dtype=torch.float64, device=device)
    counts = torch.zeros_like(sums)
    metrics = {level: Metrics(quantity=quantity_of(potential, level)) for level in levels}
    for batch in loader.batches(0):
        moved = None if batch is None else batch.to(device)
        parts = batch_loss(potential, moved, levels, settings, training=False)
        sums += parts.sums
        counts += parts.counts
        for level in levels:
            metrics[level].merge(parts.metrics[level])
    processes.add(sums)
    processes.add(counts)
    for level in levels:
        metrics[level].sums = processes.add(metrics[level].sums.to(device)).cpu()
    return float(weighted(sums[:n_deciding], counts[:n_deciding], settings)), metrics


def short_errors(tables: Mapping[str, Any], levels: tuple[str, ...]) -> str:
    """Returns mean absolute errors in a few words: ``E 1.2 meV, F 20 meV/Å``.

    That of a property is in its unit: ``0.42``.
    """
    kinds = (
        ("E", "energy", "meV"),
        ("F", "forces", "meV/Å"),
        ("S", "stress", "meV/Å³"),
        ("", "property", ""),
    )
    words = [
        ", ".join(
            f"{name} {tables[level][f'{kind}_mae']:.3g} {unit}".strip()
            for name, kind, unit in kinds
            if f"{kind}_mae" in tables[level]
        )
        for level in levels
    ]
    if len(levels) > 1:
        words = [f"{level} {text}" for level, text in zip(levels, words, strict=True)]
    return "; ".join(words)


ENOUGH = 20
"""Frames with a kind of label on which a choice rests; fewer of them choose by luck."""

_FLOOR = 1e-6
"""meV, meV/Å; an error at step 0 below this counts as this, so that no ratio divides by zero."""
_ROWS: Mapping[ErrorKind, list[int]] = {
    "energy": [0, 1],
    "forces": [2],
    "stress": [3],
    "relative": [4],
    "property": [0],
}
"""Of `Metrics.sums`."""
_LABELS: Mapping[ErrorKind, LabelKind] = {
    "energy": "energy", "forces": "forces", "stress": "stress", "relative": "energy",
    "property": "energy",
}  # fmt: skip
"""What an error is found from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What decides which weights are kept.

    Attributes:
        kinds: of errors that count.
        levels: those that count; empty for the first one of the training.
        support: training frames that help the validation frames to decide.
        supported: kinds of which there are too few labels among the validation frames, by level.
    """

    kinds: tuple[ErrorKind, ...] = ("energy", "forces", "stress")
    levels: tuple[str, ...] = ()
    support: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    supported: Mapping[str, tuple[ErrorKind, ...]] = field(default_factory=dict)

    def errors(
        self, level: str, validation: Mapping[str, Metrics], support: Mapping[str, Metrics]
    ) -> dict[str, float]:
        """Returns the errors that decide, in meV and Å; a further level's begin with its name.

        Args:
            level: the first of the training.
            validation: errors of each level on the validation frames.
            support: on the frames of `support`; empty if there are none.
        """
        found: dict[str, float] = {}
        for name in self.levels or (level,):
            merged = replace(validation[name], sums=validation[name].sums.clone())
            for kind in self.supported.get(name, ()):
                merged.sums[_ROWS[kind]] += support[name].sums[_ROWS[kind]]
            prefix = "" if name == level else f"{name} "
            found |= {f"{prefix}{key}": value for key, value in merged.table().items()}
        return found

    def score(
        self, errors: Mapping[str, float], start: Mapping[str, float], *, bounded: bool = True
    ) -> float:
        """Returns what is to be least: 1 for the model before the first update.

        The geometric mean over the levels and kinds of labels of the mean absolute error, relative
        to that at step 0. NaN if there is nothing to go by.

        Args:
            errors: now.
            start: at step 0.
            bounded: the largest of the ratios instead if one is above 1, so that no kind pays
                for another, and what is worse than step 0 in any of them is never kept.
        """
        prefixes = ("", *(f"{level} " for level in self.levels[1:]))
        names = [
            name
            for prefix in prefixes
            for kind in self.kinds
            if (name := f"{prefix}{kind}_mae") in start
        ]
        ratios = [errors[name] / max(start[name], _FLOOR) for name in names]
        if not ratios:
            return math.nan
        if bounded and max(ratios) > 1:
            return max(ratios)
        return math.prod(ratios) ** (1 / len(ratios))


def make_selection(
    dataset: Dataset, split: Split, levels: Sequence[str], kinds: Collection[ErrorKind]
) -> Selection:
    """Returns what decides; where validation frames are few, training frames join them.

    So many that each kind of label occurs in `ENOUGH` frames, if there are as many: a handful
    of frames would choose the weights that happen to fit them.

    Args:
        dataset: the frames.
        split: their division.
        levels: those that count, canonical.
        kinds: those that are learned.
    """
    chosen: set[int] = set()
    supported: dict[str, tuple[ErrorKind, ...]] = {}
    for level, kind in product(levels, kinds):
        is_other = (kind == "property") != (dataset.levels[level].quantity is not None)
        if kind in ("property", "energy") and is_other:
            continue
        labelled = dataset.labelled(level, _LABELS[kind])
        missing = ENOUGH - int(labelled[split.validation].sum())
        train = split.train[labelled[split.train]]
        if missing <= 0 or not len(train):  # a level may have energies only
            continue
        supported[level] = (*supported.get(level, ()), kind)
        missing -= sum(bool(labelled[k]) for k in chosen)
        if missing > 0:
            picks = np.linspace(0, len(train) - 1, min(missing, len(train)))
            chosen |= set(train[picks.round().astype(int)].tolist())
    return Selection(
        kinds=tuple(kinds),
        levels=tuple(levels),
        support=np.array(sorted(chosen), dtype=np.int64),
        supported=supported,
    )
