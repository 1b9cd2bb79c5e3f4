"""What a transfer starts from: a pretrained potential and labels of another level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlpot.data import Dataset, Split
from tlpot.models import Potential


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
    """

    parent: Potential
    source: str
    level: str
    dataset: Dataset
    split: Split
    seed: int = 0
    others: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    cache: Path | None = None


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
    others: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    n_others: int = 0
