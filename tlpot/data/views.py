"""Datasets seen differently: neutral, without missing labels, with a difference."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset, Frame, FrameSequence, LabelKind, Labels, LevelInfo, Problem
from tlpot.errors import DataError, UnknownLevelError, nearest
from tlpot.levels import canonical_level, choose_level, difference_level, difference_parts
from tlpot.targets import Quantity, unit_ratio

_KINDS: tuple[LabelKind, ...] = ("energy", "forces", "stress")


class DatasetView(FrameSequence):
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


def beneath_views(dataset: Dataset) -> Dataset:
    """Returns the dataset whose frames a view shows; itself, if it is none."""
    while isinstance(dataset, DatasetView):
        dataset = dataset.dataset
    return dataset


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
        quantity: what the numbers of a property are, where the file does not say.

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
        quantity: Quantity | None = None,
    ) -> None:
        super().__init__(dataset)
        self.level = canonical_level(level)
        self._quantity = quantity
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
        quantity = known.quantity or self._quantity
        info = replace(known, kinds=known.kinds | added, quantity=quantity)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class LowValues:
    """What a low model says about every frame of a dataset.

    Attributes:
        level: name of its level of theory.
        energies: [n_frames], eV; NaN where there is none.
        forces: [n_atoms, 3] for each frame, eV/Å, or None where there are none, as where one
            of them is NaN; may be left out.
        stresses: [3, 3] for each frame, eV/Å³, likewise.
        isolated_atoms: its energy of the free atom by atomic number, eV.
        origin: what decides the values, such as a model's hash, where their last digits depend
            on the machine; empty if the values themselves are what a hash should see.
        definition: what computes them, as labels would carry it.
    """

    level: str
    energies: NDArray[np.float64]
    forces: Sequence[NDArray[np.float64] | None] = ()
    stresses: Sequence[NDArray[np.float64] | None] = ()
    isolated_atoms: Mapping[int, float] = field(default_factory=dict)
    origin: str = ""
    definition: Mapping[str, Any] = field(default_factory=dict)

    def labels(self, index: int) -> Labels:
        """Returns the values of a frame."""
        return Labels(
            energy=float(self.energies[index]),
            forces=_complete(self.forces[index]) if self.forces else None,
            stress=_complete(self.stresses[index]) if self.stresses else None,
        )

    def known(self, kind: LabelKind) -> NDArray[np.bool_]:
        """Which frames have a value, [n_frames]."""
        if kind == "energy":
            return np.isfinite(self.energies)
        values = (self.forces if kind == "forces" else self.stresses) or [None] * len(self.energies)
        return np.array([_complete(x) is not None for x in values], dtype=bool)

    def digest(self) -> str:
        """SHA-256 of the origin, or of the values where none is given."""
        if self.origin:
            return hashlib.sha256(f"{self.level}|{self.origin}".encode()).hexdigest()
        total = hashlib.sha256(self.level.encode() + self.energies.astype("<f8").tobytes())
        for values in (self.forces, self.stresses):
            for value in values:
                total.update(b"|" if value is None else np.asarray(value, "<f8").tobytes())
            total.update(b"||")
        return total.hexdigest()


class DifferenceDataset(DatasetView):
    """A dataset with one more level, ``high - low``; satisfies `tlpot.data.Dataset`.

    A label of the difference exists where both levels have one. Everything else, the other
    levels included, is as in the dataset underneath.

    Args:
        dataset: the frames and the labels of the high level.
        high: level of the dataset.
        low: another level of the dataset, or values for each of its frames.

    Raises:
        UnknownLevelError: the dataset has no such level; the message lists those it has.
        DataError: the levels are the same, a level of that name is there already, or the
            values have other shapes than the frames or are infinite.
    """

    def __init__(self, dataset: Dataset, high: str, low: str | LowValues) -> None:
        super().__init__(dataset)
        self.high = choose_level(high, dataset.levels, str(dataset.path))
        self.values = low if isinstance(low, LowValues) else None
        if isinstance(low, LowValues):
            _check_values(low, dataset)
            self.low = canonical_level(low.level)
        else:
            self.low = choose_level(low, dataset.levels, str(dataset.path), option="low")
            if self.low == self.high:
                raise DataError(
                    f"{dataset.path}: the low level is {low!r}, the same as the high one, so all "
                    "differences would be zero; choose another"
                )
        self.level = difference_level(self.high, self.low)
        """Name of the difference."""
        self._quantity()
        if self.level in dataset.levels:
            raise DataError(
                f"{dataset.path} has a level {self.level!r} of its own; learn that directly, or "
                "rename it"
            )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the file's hash, the names of the levels and the low values."""
        low = "" if self.values is None else self.values.digest()
        text = f"{self.dataset.content_hash}|{self.level}|{low}"
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def levels(self) -> Mapping[str, LevelInfo]:
        """Levels of theory by canonical name, the difference last."""
        levels = self.dataset.levels
        low = levels[self.low].isolated_atoms if self.values is None else self.values.isolated_atoms
        high = levels[self.high].isolated_atoms
        difference = LevelInfo(
            name=self.level,
            kinds=frozenset(kind for kind in _KINDS if self._both(kind).any()),
            isolated_atoms={z: high[z] - low[z] for z in high if z in low},
            definition=f"{self.high} minus {self.low}",
            quantity=self._quantity(),
        )
        return {**levels, self.level: difference}

    def labelled(self, level: str, kind: LabelKind = "energy") -> NDArray[np.bool_]:
        """Which frames carry a label, [n_frames].

        Raises:
            UnknownLevelError: no such level; the message lists those present.
        """
        if canonical_level(level) == self.level:
            return self._both(kind)
        choose_level(level, self.levels, str(self.path))
        return self.dataset.labelled(level, kind)

    def read(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        levels: Collection[str] | None = None,
    ) -> list[Frame]:
        """Returns frames in the order asked for; see `Dataset.read`."""
        if levels is not None and self.level not in levels:
            return self.dataset.read(indices, levels)
        needed = None
        if levels is not None:
            needed = {*levels, self.high} - {self.level}
            if self.values is None:
                needed.add(self.low)
        frames = self.dataset.read(indices, needed)
        return [self._extended(f, int(k), levels) for f, k in zip(frames, indices, strict=True)]

    def _extended(self, frame: Frame, index: int, levels: Collection[str] | None) -> Frame:
        high = frame.labels.get(self.high)
        low = frame.labels.get(self.low) if self.values is None else self.values.labels(index)
        labels = {k: v for k, v in frame.labels.items() if levels is None or k in levels}
        if high is not None and low is not None:
            difference = Labels(
                energy=high.energy - low.energy * self._low_factor(),
                forces=_minus(high.forces, low.forces),
                stress=_minus(high.stress, low.stress),
            )
            arrays = (difference.forces, difference.stress)
            if np.isfinite(difference.energy) or any(x is not None for x in arrays):
                labels[self.level] = difference
        return replace(frame, labels=labels)

    def _quantity(self) -> Quantity | None:
        """Returns what the numbers of the difference are; None for energies."""
        found = self.dataset.levels[self.high].quantity
        info = self.dataset.levels.get(self.low) if self.values is None else None
        low = found if self.values is not None else info.quantity if info is not None else None
        if found is None and low is None:
            return None
        if found is None or low is None or found.extensive != low.extensive:
            raise DataError(
                f"{self.path}: {self.high} ({found.words if found else 'energies'}) less "
                f"{self.low} ({low.words if low else 'energies'}) means nothing; take two of one "
                "kind"
            )
        if "yes_no" in (found.kind, low.kind):
            raise DataError(f"{self.path}: there are no differences of yes and no ({self.high})")
        unit_ratio(low.unit, found.unit, f"{self.path}: {self.low}")
        return replace(found, kind="scalar")

    def _low_factor(self) -> float:
        """The factor from the unit of the low property to that of the high one; 1 for energies."""
        high = self.dataset.levels[self.high].quantity
        low = self.dataset.levels[self.low].quantity if self.values is None else None
        return 1.0 if high is None or low is None else unit_ratio(low.unit, high.unit, self.low)

    def _both(self, kind: LabelKind) -> NDArray[np.bool_]:
        high = self.dataset.labelled(self.high, kind)
        if self.values is None:
            return high & self.dataset.labelled(self.low, kind)
        return high & self.values.known(kind)


def with_difference(dataset: Dataset, level: str) -> Dataset:
    """Returns a dataset with a level ``high - low``, made of the two where it has none.

    Args:
        dataset: the frames, with labels at both levels.
        level: the name of the difference; with any other name nothing is done.

    Raises:
        UnknownLevelError: the dataset lacks one of the levels.
        DataError: see `DifferenceDataset`.
    """
    parts, asked = difference_parts(level), canonical_level(level)
    if parts is None or asked in dataset.levels:
        return dataset
    high, low = parts
    if high in dataset.levels and low not in dataset.levels:
        raise UnknownLevelError(
            f"{dataset.path}: no labels at {low}, from which {asked} is the difference (there are "
            f"{', '.join(dataset.levels)}); compute them first, into one file: tlpot label FILE "
            f"--engine {low} -o BOTH.h5"
        )
    return DifferenceDataset(dataset, high, low)


def _complete(values: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return values if values is not None and bool(np.isfinite(values).all()) else None


def _minus(
    high: NDArray[np.float64] | None, low: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    return None if high is None or low is None else high - low


def _check_values(low: LowValues, dataset: Dataset) -> None:
    n = len(dataset)
    where = f"values of {low.level!r} for {dataset.path}"
    if low.energies.shape != (n,):
        raise DataError(f"{where}: energies have shape {low.energies.shape}, expected ({n},)")
    if np.isinf(low.energies).any():
        k = int(np.flatnonzero(np.isinf(low.energies))[0])
        raise DataError(
            f"{where}: the energy of frame {k} is {low.energies[k]}; use NaN where there is none"
        )
    for kind, values in (("forces", low.forces), ("stresses", low.stresses)):
        if values and len(values) != n:
            raise DataError(f"{where}: {len(values)} {kind} for {n} frames")
        for k, value in enumerate(values):
            shape = (int(dataset.sizes[k]), 3) if kind == "forces" else (3, 3)
            if value is not None and np.shape(value) != shape:
                raise DataError(
                    f"{where}: {kind} of frame {k} have shape {np.shape(value)}, expected {shape}"
                )
            if value is not None and np.isinf(value).any():
                raise DataError(f"{where}: {kind} of frame {k} hold infinity")
