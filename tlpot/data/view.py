"""The frames of another dataset, with other labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset


class DatasetView:
    """What does not change when only labels do: part of `Dataset`.

    Args:
        dataset: the frames.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @property
    def path(self) -> Path:
        """The file underneath."""
        return self.dataset.path

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return self.dataset.elements

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms in each frame, [n_frames]."""
        return self.dataset.sizes

    @property
    def group_names(self) -> Sequence[str]:
        """Names of the molecules."""
        return self.dataset.group_names

    @property
    def group_idx(self) -> NDArray[np.int64]:
        """Which molecule each frame belongs to, [n_frames]."""
        return self.dataset.group_idx

    @property
    def unused_keys(self) -> Sequence[str]:
        """Arrays of the file that its description does not mention."""
        return self.dataset.unused_keys

    def __len__(self) -> int:
        return len(self.dataset)

    def column(self, key: str) -> NDArray:
        """Returns an array of the file with one value for each frame; see `Dataset.column`."""
        return self.dataset.column(key)
