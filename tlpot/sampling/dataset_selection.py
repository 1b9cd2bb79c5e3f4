"""A choice among the frames of a dataset: unlike ones, or those that a model is least sure of."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase import Atoms

from tlpot.config import check_least, check_seed
from tlpot.data import (
    Dataset,
    DataSource,
    Frame,
    SpecSource,
    copy_rows,
    frames_of,
    open_dataset,
    write_dataset,
)
from tlpot.errors import ConfigError, DataError, nearest
from tlpot.files import check_hdf5_name, check_replaced, check_spared
from tlpot.numbers import Ints, counted
from tlpot.presentation import Result
from tlpot.sampling.candidate import (
    ModelView,
    farthest_points,
    geometry_features,
    most_uncertain,
    scaled,
)
from tlpot.sampling.settings import SELECTIONS, Selection


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameChoice:
    """How frames are chosen; impossible values raise a `ConfigError`.

    Attributes:
        each: frames of each molecule at most; None for all.
        count: frames in all at most, chosen among what `each` left; None for all.
        select: the farthest points in the features of the model, or the least certain.
        model: whose features and uncertainty to choose by; None for distances and angles.
        level: of the model's uncertainty, where it has several.
        max_force: frames with a larger force on an atom at any level are left out, eV/Å.
        window: frames more than this above the lowest of their molecule at any level are left
            out, eV per atom.
        seed: of the frame of a molecule without energies to begin with.
    """

    each: int | None = None
    count: int | None = None
    select: Selection = "farthest"
    model: str | None = None
    level: str | None = None
    max_force: float | None = None
    window: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.select not in SELECTIONS:
            raise ConfigError(
                f"unknown selection {self.select!r}{nearest(self.select, SELECTIONS)}"
            )
        if self.select == "uncertainty" and self.model is None:
            raise ConfigError("selection by uncertainty needs a model: model='...' (--model)")
        if self.level is not None and self.select != "uncertainty":
            raise ConfigError("model_level applies to selection by uncertainty; leave it out")
        if (self.each, self.count, self.max_force, self.window) == (None,) * 4:
            raise ConfigError(
                "say what to choose: each (--each) for each molecule, count (--count) in all, or "
                "the largest force or energy (--max-force, --window)"
            )
        check_least(self, each=1, count=1, max_force=1e-6, window=1e-6)
        check_seed(self.seed)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class DatasetSelection(Result):
    """Frames of a dataset that were chosen and written.

    Attributes:
        output: the file.
        n_frames: chosen.
        n_molecules: of which they are.
        n_given: frames of the dataset.
        lost: frames left out before the choice, by reason.
    """

    output: Path
    n_frames: int
    n_molecules: int
    n_given: int
    lost: dict[str, int]

    def text(self) -> str:
        """Returns what to read."""
        lines = [
            f"{self.output}: {self.n_frames:,} of {counted(self.n_given, 'frame')}, "
            f"{counted(self.n_molecules, 'molecule')}"
        ]
        if self.lost:
            lines.append(
                "left out: " + ", ".join(f"{n} {why}" for why, n in sorted(self.lost.items()))
            )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        content = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**content, "output": str(self.output)}


def choose_frames(
    source: DataSource,
    output: str | os.PathLike[str],
    choice: FrameChoice,
    *,
    spec: SpecSource | None = None,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> DatasetSelection:
    """Chooses frames of a dataset, and writes them with all their labels in the native layout.

    Args:
        source: the dataset. One file in the native layout is kept as it is, with all that it
            says; another, several, or one of which a level is wanted, are converted first.
        output: the file to write.
        choice: how.
        spec: see `open_dataset`, as `level` and `keys`.
        level: of the labels.
        keys: of the labels.
        overwrite: whether a file may be replaced.

    Raises:
        ConfigError: a model without what is needed.
        DataError: the dataset is damaged, or nothing is left.
        OutputError: the file exists, or could not be written.
        UnknownElementError: an element that the model does not know.
        UnknownLevelError: the file does not say which level its labels have, and none was named.
    """
    target = check_spared(check_hdf5_name(output), source, spec)
    check_replaced(target, what="dataset", overwrite=overwrite)
    alone = source[0] if isinstance(source, list | tuple) and len(source) == 1 else source
    if isinstance(alone, str | os.PathLike) and (spec, level) == (None, None) and not keys:
        path = Path(alone)
        if path.is_file() and h5py.is_hdf5(path):
            return _choose(path, target, choice)
    dataset = open_dataset(source, spec, level=level, keys=keys)
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / f"{dataset.path.stem}.h5"
        write_dataset(dataset, converted)
        return _choose(converted, target, choice)


def _choose(source: Path, target: Path, choice: FrameChoice) -> DatasetSelection:
    """Chooses frames of a file in the native layout."""
    dataset = open_dataset(source)
    frames = list(frames_of(dataset))
    lost: Counter[str] = Counter()
    left = _moderate(dataset, frames, choice, lost)
    view = None if choice.model is None else ModelView(choice.model, choice.level)
    if choice.each is not None:
        groups = dataset.group_idx[left]
        parts = [left[groups == group] for group in np.unique(groups)]
        left = np.concatenate([_chosen(frames, part, choice.each, choice, view) for part in parts])
    if choice.count is not None:
        left = _chosen(frames, left, choice.count, choice, view)
    if not len(left):
        raise DataError(
            f"no frame of {source.name} is left of {dict(lost)}; raise --max-force, --window"
        )
    copy_rows(source, target, left)
    return DatasetSelection(
        output=target,
        n_frames=len(left),
        n_molecules=len(np.unique(dataset.group_idx[left])),
        n_given=len(frames),
        lost={reason: n for reason, n in lost.items() if n},
    )


def _moderate(
    dataset: Dataset, frames: list[Frame], choice: FrameChoice, lost: Counter[str]
) -> Ints:
    """The frames whose forces and energies are not too large."""
    kept = np.ones(len(frames), dtype=bool)
    for level in dataset.levels:
        if choice.max_force is not None:
            largest = np.array([_largest_force(frame, level) for frame in frames])
            large = kept & (largest > choice.max_force)
            lost["large forces"] += int(large.sum())
            kept &= ~large
        if choice.window is not None:
            energy = np.array([_energy_per_atom(frame, level) for frame in frames])
            lowest = np.full(len(dataset.group_names), np.inf)
            known = np.isfinite(energy)
            np.minimum.at(lowest, dataset.group_idx[known], energy[known])
            high = kept & (energy > lowest[dataset.group_idx] + choice.window)
            lost["energy"] += int(high.sum())
            kept &= ~high
    return np.flatnonzero(kept)


def _largest_force(frame: Frame, level: str) -> float:
    label = frame.labels.get(level)
    if label is None or label.forces is None:
        return 0.0
    return float(np.linalg.norm(label.forces, axis=1).max())


def _energy_per_atom(frame: Frame, level: str) -> float:
    label = frame.labels.get(level)
    return np.nan if label is None else label.energy / len(frame.system)


def _chosen(
    frames: list[Frame],
    given: Ints,
    count: int,
    choice: FrameChoice,
    view: ModelView | None,
) -> Ints:
    """Chooses among frames of one molecule or of many, in whose features sizes do not count."""
    if len(given) <= count:
        return given
    atoms = [_atoms(frames[k]) for k in given.tolist()]
    if view is not None:
        numbers = np.unique(np.concatenate([each.numbers for each in atoms]))
        view.check(numbers, frames[int(given[0])].group)
    if view is None:
        features = geometry_features(atoms)
    else:
        features = view.features(atoms) / np.array([len(each) for each in atoms])[:, None]
    rows = scaled(features)
    if choice.select == "uncertainty":
        assert view is not None
        order = most_uncertain(view.uncertainty(atoms), rows, count)
    else:
        order, _ = farthest_points(rows, count, _first(frames, given, choice.seed))
    return np.sort(given[order])


def _first(frames: list[Frame], given: Ints, seed: int) -> int:
    """The lowest energy per atom at the first level that all have, else one drawn."""
    for level in frames[int(given[0])].labels:
        energy = np.array([_energy_per_atom(frames[k], level) for k in given.tolist()])
        if np.isfinite(energy).all():
            return int(energy.argmin())
    return int(np.random.default_rng(seed).integers(len(given)))


def _atoms(frame: Frame) -> Atoms:
    system = frame.system
    return Atoms(
        system.atomic_numbers,
        system.positions,
        cell=system.cell,
        pbc=system.pbc,
        info={"charge": system.charge, "spin": system.spin},
    )
