"""What a transfer report is about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.data import Dataset
from tlpot.models import DeltaPotential, Potential
from tlpot.training import Predictions


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A model after its transfer, and frames that it was not trained on.

    Attributes:
        potential: the model.
        level: its new level, canonical.
        dataset: where the frames come from.
        indices: which frames.
        part: what they are called: test, validation, all.
        end: predictions of the model beside the labels, on these frames.
        start: the same of the model at step 0, if known.
    """

    potential: Potential | DeltaPotential
    level: str
    dataset: Dataset
    indices: NDArray[np.int64]
    part: str
    end: Predictions
    start: Predictions | None = None
