"""Which weights a training keeps: errors relative to those before the first update."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tlpot.data import Dataset, LabelKind, Split
from tlpot.evaluation import Metrics

ENOUGH = 20
"""Frames with a kind of label on which a choice rests; fewer of them choose by luck."""

_FLOOR = 1e-6
"""meV, meV/Å; an error at step 0 below this counts as this, so that no ratio divides by zero."""
_ROWS: Mapping[LabelKind, list[int]] = {"energy": [0, 1], "forces": [2], "stress": [3]}
"""Of `Metrics.sums`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What decides which weights are kept.

    Attributes:
        kinds: of labels that count.
        support: training frames that help the validation frames to decide.
        supported: kinds of which there are too few labels among the validation frames.
    """

    kinds: tuple[LabelKind, ...] = ("energy", "forces", "stress")
    support: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    supported: tuple[LabelKind, ...] = ()

    def errors(self, validation: Metrics, support: Metrics) -> dict[str, float]:
        """Returns the errors that decide, in meV and Å.

        Args:
            validation: errors of the first level on the validation frames.
            support: on the frames of `support`.
        """
        merged = Metrics(sums=validation.sums.clone())
        for kind in self.supported:
            merged.sums[_ROWS[kind]] += support.sums[_ROWS[kind]]
        return merged.table()

    def score(
        self, errors: Mapping[str, float], start: Mapping[str, float], *, bounded: bool = True
    ) -> float:
        """Returns what is to be least: 1 for the model before the first update.

        The geometric mean over the kinds of labels of the mean absolute error, relative to that
        at step 0. NaN if there is nothing to go by.

        Args:
            errors: now.
            start: at step 0.
            bounded: the largest of the ratios instead if one is above 1, so that no kind pays
                for another, and what is worse than step 0 in any of them is never kept.
        """
        names = [f"{kind}_mae" for kind in self.kinds if f"{kind}_mae" in start]
        ratios = [errors[name] / max(start[name], _FLOOR) for name in names]
        if not ratios:
            return math.nan
        if bounded and max(ratios) > 1:
            return max(ratios)
        return math.prod(ratios) ** (1 / len(ratios))


def make_selection(
    dataset: Dataset, split: Split, level: str, kinds: Collection[LabelKind]
) -> Selection:
    """Returns what decides; where validation frames are few, training frames join them.

    So many that each kind of label occurs in `ENOUGH` frames, if there are as many: a handful
    of frames would choose the weights that happen to fit them.

    Args:
        dataset: the frames.
        split: their division.
        level: canonical.
        kinds: those that are learned.
    """
    chosen: set[int] = set()
    supported: list[LabelKind] = []
    for kind in kinds:
        labelled = dataset.labelled(level, kind)
        missing = ENOUGH - int(labelled[split.validation].sum())
        if missing <= 0:
            continue
        supported.append(kind)
        missing -= sum(bool(labelled[k]) for k in chosen)
        train = split.train[labelled[split.train]]
        if missing > 0 and len(train):
            picks = np.linspace(0, len(train) - 1, min(missing, len(train)))
            chosen |= set(train[picks.round().astype(int)].tolist())
    return Selection(
        kinds=tuple(kinds),
        support=np.array(sorted(chosen), dtype=np.int64),
        supported=tuple(supported),
    )
