"""Several datasets as one."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import (
    Dataset,
    Frame,
    FrameSequence,
    LabelKind,
    LevelInfo,
    Problem,
    checked_indices,
)
from tlpot.data.summary import definition_problems, definitions_of
from tlpot.errors import DataError, UnknownLevelError, nearest
from tlpot.levels import canonical_level


class JoinedDataset(FrameSequence):
    """The frames of several datasets, one after the other; satisfies `tlpot.data.Dataset`.

    Molecules of the same name are one molecule when they have as many atoms; otherwise the
    name is qualified by the file's.

    Args:
        parts: at least one.

    Raises:
        DataError: two parts give different energies for the same free atom at the same level.
    """

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.path = self.parts[0].path
        self.levels: Mapping[str, LevelInfo] = _join_levels(self.parts)
        self.elements = tuple(sorted({z for part in self.parts for z in part.elements}))
        names: dict[str, int] = {}
        sizes: dict[str, int] = {}
        idx = []
        for part in self.parts:
            ids = []
            first = _first_sizes(part)
            for name, size in zip(part.group_names, first, strict=True):
                if sizes.setdefault(name, size) != size:
                    name = f"{part.path.name}/{name}"
                ids.append(names.setdefault(name, len(names)))
            idx.append(np.array(ids, dtype=np.int64)[part.group_idx])
        self.group_names = tuple(names)
        self.group_idx = np.concatenate(idx)
        self.sizes = np.concatenate([part.sizes for part in self.parts])

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the hashes of the files, in order."""
        hashes = "".join(part.content_hash for part in self.parts)
        return hashlib.sha256(hashes.encode()).hexdigest()

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What opening the files has shown, and levels that were computed in several ways."""
        several = set(definition_problems(self.levels))
        return (
            *(
                replace(problem, what=f"{part.path.name}: {problem.what}")
                for part in self.parts
                for problem in part.problems
                if problem not in several
            ),
            *definition_problems(self.levels),
        )

    @cached_property
    def unused_keys(self) -> tuple[str, ...]:
        """Arrays of the files that the description does not mention."""
        return tuple(sorted({key for part in self.parts for key in part.unused_keys}))

    def __len__(self) -> int:
        return len(self.sizes)

    def labelled(self, level: str, kind: LabelKind = "energy") -> NDArray[np.bool_]:
        """Which frames carry a label, [n_frames].

        Raises:
            UnknownLevelError: no such level; the message lists those present.
        """
        level = canonical_level(level)
        if level not in self.levels:
            raise UnknownLevelError(
                f"{self.path} and others have no level {level!r}{nearest(level, self.levels)}"
            )
        return np.concatenate(
            [
                part.labelled(level, kind)
                if level in part.levels
                else np.zeros(len(part), dtype=bool)
                for part in self.parts
            ]
        )

    def column(self, key: str) -> NDArray:
        """Returns an array of the files with one value for each frame, as stored.

        Raises:
            DataError: a file does not have it, or it has another shape.
        """
        return np.concatenate([part.column(key) for part in self.parts])

    def attributes(self, group: str | None = None) -> Mapping[str, Any]:
        """Returns what the files say of a molecule beside its frames, where they agree."""
        first, *others = [
            part.attributes(group)
            for part in self.parts
            if group is None or group in part.group_names
        ] or [{}]
        return {
            name: value
            for name, value in first.items()
            if all(name in other and np.array_equal(value, other[name]) for other in others)
        }

    def read(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        levels: Collection[str] | None = None,
    ) -> list[Frame]:
        """Returns frames in the order asked for; see `Dataset.read`."""
        asked = checked_indices(self, indices)
        owner = np.searchsorted(self._starts, asked, side="right") - 1
        frames: list[Frame | None] = [None] * len(asked)
        for k in np.unique(owner):
            places = np.flatnonzero(owner == k)
            part = self.parts[k]
            for place, frame in zip(
                places, part.read(asked[places] - self._starts[k], levels), strict=True
            ):
                group = self.group_names[self.group_idx[asked[place]]]
                frames[place] = frame if frame.group == group else replace(frame, group=group)
        return [frame for frame in frames if frame is not None]


def _first_sizes(part: Dataset) -> list[int]:
    """Atoms of the first frame of each molecule."""
    _, first = np.unique(part.group_idx, return_index=True)
    return [int(size) for size in part.sizes[first]]


def _quantity_words(info: LevelInfo) -> str:
    return "a total energy" if info.quantity is None else f"({info.quantity.words})"


def _join_levels(parts: Sequence[Dataset]) -> dict[str, LevelInfo]:
    levels: dict[str, LevelInfo] = {}
    for part in parts:
        for name, info in part.levels.items():
            known = levels.setdefault(name, info)
            if known.quantity != info.quantity:
                raise DataError(
                    f"{part.path}: {name} is {_quantity_words(info)}, and "
                    f"{_quantity_words(known)} in another file; convert one of them"
                )
            atoms = dict(known.isolated_atoms)
            for z, energy in info.isolated_atoms.items():
                if abs(atoms.setdefault(z, energy) - energy) > 1e-6:
                    raise DataError(
                        f"{part.path}: the free atom {z} has energy {energy:.6f} eV at {name}, but "
                        f"{atoms[z]:.6f} eV in another file; are these the same level of theory?"
                    )
            said = [*definitions_of(known), *definitions_of(info)]
            first, *others = dict.fromkeys(said) if said else [""]
            levels[name] = replace(
                known,
                kinds=known.kinds | info.kinds,
                isolated_atoms=atoms,
                definition=first,
                other_definitions=tuple(others),
                keys=tuple(dict.fromkeys((*known.keys, *info.keys))),
            )
    return levels
