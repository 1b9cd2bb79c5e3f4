"""Another dataset, part of which is seen differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset, LabelKind, LevelInfo
from tlpot.data.problem import Problem


class DatasetView:
    """What a view does not change, which is all of `Dataset` but `read`.

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
    def content_hash(self) -> str:
        """SHA-256 of the content underneath."""
        return self.dataset.content_hash

    @property
    def levels(self) -> Mapping[str, LevelInfo]:
        """Levels of theory by canonical name."""
        return self.dataset.levels

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

    @property
    def problems(self) -> Sequence[Problem]:
        """What opening the file has shown."""
        return self.dataset.problems

    def __len__(self) -> int:
        return len(self.dataset)

    def labelled(self, level: str, kind: LabelKind = "energy") -> NDArray[np.bool_]:
        """Which frames carry a label, [n_frames]; see `Dataset.labelled`."""
        return self.dataset.labelled(level, kind)

    def column(self, key: str) -> NDArray:
        """Returns an array of the file with one value for each frame; see `Dataset.column`."""
        return self.dataset.column(key)
