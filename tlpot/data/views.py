"""Datasets of which part is seen differently: neutral, or with labels that the file lacks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset, Frame, LabelKind, Labels, LevelInfo, Problem
from tlpot.errors import DataError, UnknownLevelError, nearest
from tlpot.levels import canonical_level


class DatasetView:
    """What a view does not change, which is all of `Dataset` but `read`.

    Args:
        dataset: the frames.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.path = dataset.path
        self.elements = dataset.elements
        self.sizes = dataset.sizes
        self.group_names = dataset.group_names
        self.group_idx = dataset.group_idx

    @property
    def content_hash(self) -> str:
        """SHA-256 of the content underneath."""
        return self.dataset.content_hash

    @property
    def levels(self) -> Mapping[str, LevelInfo]:
        """Levels of theory by canonical name."""
        return self.dataset.levels

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

    def attributes(self, group: str | None = None) -> Mapping[str, Any]:
        """Returns what the file says of a molecule beside its frames."""
        return self.dataset.attributes(group)


class NeutralDataset(DatasetView):
    """The frames and labels of a dataset as neutral singlets; satisfies `Dataset`.

    For molecules whose charge follows from their atoms, such as the fragments of proteins: a
    model that reads no charge then learns the charged ones as they are.

    Args:
        dataset: the frames.
    """

    def read(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        levels: Collection[str] | None = None,
    ) -> list[Frame]:
        """Returns frames in the order asked for; see `Dataset.read`."""
        return [
            replace(frame, system=replace(frame.system, charge=0, spin=1))
            for frame in self.dataset.read(indices, levels)
        ]


class DatasetWithLabels(DatasetView):
    """A dataset where labels held in memory stand in for missing ones; satisfies `Dataset`.

    Args:
        dataset: the frames.
        level: the level that gets labels; it may be new.
        indices: frames that get one.
        labels: one for each of them.
        replace: whether they stand in for labels of the file, too.

    Raises:
        DataError: the numbers of frames and labels differ, or an index is out of range.
    """

    def __init__(
        self,
        dataset: Dataset,
        level: str,
        indices: Sequence[int] | NDArray[np.int64],
        labels: Sequence[Labels],
        *,
        replace: bool = False,
    ) -> None:
        super().__init__(dataset)
        self.level = canonical_level(level)
        chosen = np.asarray(indices, dtype=np.int64)
        if len(chosen) != len(labels):
            raise DataError(f"{len(labels)} labels for {len(chosen)} frames")
        if chosen.size and not 0 <= chosen.min() <= chosen.max() < len(dataset):
            raise DataError(f"{dataset.path} has {len(dataset)} frames; an index is outside")
        self._first = replace
        self._labels = dict(zip(chosen.tolist(), labels, strict=True))

    @cached_property
    def levels(self) -> Mapping[str, LevelInfo]:
        """Levels of theory by canonical name."""
        known = self.dataset.levels.get(self.level, LevelInfo(name=self.level, kinds=frozenset()))
        added = {kind for kind in get_args(LabelKind) if self._has(kind).any()}
        info = replace(known, kinds=known.kinds | added)
        return {**self.dataset.levels, self.level: info}

    def labelled(self, level: str, kind: LabelKind = "energy") -> NDArray[np.bool_]:
        """Which frames carry a label, [n_frames].

        Raises:
            UnknownLevelError: no such level; the message lists those present.
        """
        name = canonical_level(level)
        if name != self.level:
            if name not in self.dataset.levels:
                raise UnknownLevelError(
                    f"{self.path} has no level {level!r}{nearest(level, self.levels)}"
                )
            return self.dataset.labelled(name, kind)
        with_labels = self._has(kind)
        if name in self.dataset.levels:
            with_labels |= self.dataset.labelled(name, kind)
        return with_labels

    def read(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        levels: Collection[str] | None = None,
    ) -> list[Frame]:
        """Returns frames in the order asked for; see `Dataset.read`."""
        inner = levels
        if levels is not None and self.level not in self.dataset.levels:
            inner = [name for name in levels if canonical_level(name) != self.level]
        frames = self.dataset.read(indices, inner)
        if levels is not None and self.level not in {canonical_level(name) for name in levels}:
            return frames
        return [
            self._with_labels(frame, self._labels.get(int(index)))
            for index, frame in zip(indices, frames, strict=True)
        ]

    def _has(self, kind: LabelKind) -> NDArray[np.bool_]:
        has = np.zeros(len(self), dtype=bool)
        for index, labels in self._labels.items():
            value = getattr(labels, kind)
            has[index] = value is not None and bool(np.isfinite(value).all())
        return has

    def _with_labels(self, frame: Frame, labels: Labels | None) -> Frame:
        if labels is None:
            return frame
        first, second = frame.labels.get(self.level, Labels()), labels
        if self._first:
            first, second = second, first
        merged = Labels(
            energy=first.energy if np.isfinite(first.energy) else second.energy,
            forces=second.forces if first.forces is None else first.forces,
            stress=second.stress if first.stress is None else first.stress,
        )
        return replace(frame, labels={**frame.labels, self.level: merged})
