"""Dividing a dataset into training, validation and test frames, reproducibly."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset, frames_of, with_any_label
from tlpot.errors import DataError, nearest
from tlpot.files import write_text
from tlpot.system import System

PRECISION = 1e-5
"""Å; coordinates that round to the same multiples of this are the same."""


def fingerprint(system: System, precision: float = PRECISION) -> bytes:
    """Returns a hash of elements, positions, cell, charge and multiplicity.

    Structures that are rotated, shifted or list their atoms in another order differ.

    Args:
        system: the structure.
        precision: of positions and cell, Å.
    """
    parts = (
        system.atomic_numbers.astype(np.int64),
        np.rint(system.positions / precision) + 0.0,  # + 0.0 turns -0.0 into 0.0
        np.rint(system.cell / precision) + 0.0,
        system.pbc.astype(np.int8),
        np.array([system.charge, system.spin]),
    )
    return hashlib.blake2b(b"".join(part.tobytes() for part in parts), digest_size=16).digest()


SplitBy = Literal["molecule", "random", "source", "trajectory", "key"]
Share = float | Sequence[str]
"""Fraction of the frames (below 1), number of frames, or names of molecules (or values)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Which frames of a dataset are for what.

    Attributes:
        train: indices, ascending.
        validation: indices, ascending.
        test: indices, ascending.
        by: how they were divided.
        seed: of the division.
        content_hash: of the dataset.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    by: str
    seed: int
    content_hash: str

    def subset(self, n: int) -> NDArray[np.int64]:
        """Returns `n` training frames, ascending; smaller subsets are part of larger ones.

        Raises:
            DataError: there are not that many, or `n` is not positive.
        """
        if not 0 < n <= len(self.train):
            raise DataError(f"cannot take {n} of {len(self.train)} training frames")
        order = np.random.default_rng([self.seed, 1]).permutation(len(self.train))
        return self.train[np.sort(order[:n])]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file.

        Raises:
            OutputError: the file could not be written.
        """
        content: dict[str, Any] = {
            "by": self.by,
            "seed": self.seed,
            "content_hash": self.content_hash,
            **{part: getattr(self, part).tolist() for part in _PARTS},
        }
        write_text(path, json.dumps(content) + "\n")


_PARTS = ("train", "validation", "test")


def default_by(dataset: Dataset, labelled: str | None = None) -> SplitBy:
    """Returns ``molecule``, or ``random`` where all frames are of one molecule.

    Args:
        dataset: the frames.
        labelled: only frames with a label at this level count.

    Raises:
        UnknownLevelError: no such level.
    """
    groups = dataset.group_idx
    if labelled is not None:
        groups = groups[with_any_label(dataset, labelled)]
    return "random" if len(groups) and (groups == groups[0]).all() else "molecule"


def load_split(path: str | os.PathLike[str], dataset: Dataset) -> Split:
    """Reads a split that was made for `dataset`.

    Raises:
        DataError: no such file, not a split, or made for another dataset.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        split = Split(
            by=str(content["by"]),
            seed=int(content["seed"]),
            content_hash=str(content["content_hash"]),
            **{part: np.array(content[part], dtype=np.int64) for part in _PARTS},
        )
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is not a split written by tlpot ({error!r})") from error
    if split.content_hash != dataset.content_hash:
        raise DataError(
            f"{path} was made for a dataset with SHA-256 {split.content_hash[:12]}..., but "
            f"{dataset.path} has {dataset.content_hash[:12]}...; use the same files in the same "
            "order, or make a new split"
        )
    everything = np.concatenate([getattr(split, part) for part in _PARTS])
    if everything.size and (everything.min() < 0 or everything.max() >= len(dataset)):
        raise DataError(f"{path} names frames that {dataset.path} does not have")
    if len(np.unique(everything)) != len(everything):
        raise DataError(f"{path} uses a frame more than once")
    return split


def make_split(
    dataset: Dataset,
    *,
    validation: Share = 0.1,
    test: Share = 0.1,
    by: SplitBy = "molecule",
    key: str | None = None,
    seed: int = 0,
    labelled: str | None = None,
    indices: Sequence[int] | NDArray[np.int64] | None = None,
    turn: NDArray[np.int64] | None = None,
) -> Split:
    """Divides frames into training, validation and test.

    Args:
        dataset: the frames.
        validation: fraction of the frames (below 1), number of frames, or a list of names; 0
            for none. Whole molecules are added, in random order, as long as that brings the
            share closer to what was asked for.
        test: likewise.
        by: ``molecule`` keeps all frames of a molecule together, ``source`` or ``trajectory``
            all frames with the same value of that array, such as the protein that fragments
            were cut out of, ``key`` those with the same value of `key`; ``random`` divides
            frames, except that identical structures stay together.
        key: an array of the file with one value per frame, such as ``temperature``.
        seed: of the random order.
        labelled: use only frames with an energy, forces or a stress at this level.
        indices: use only these frames.
        turn: [n_frames], small numbers; what is kept together is held out, for the test first,
            in ascending order of the largest of its frames, and in random order only where these
            are equal. None for random order.

    Raises:
        DataError: a part, or the training set, would be empty; an unknown name; all frames
            have the same source.
        UnknownLevelError: no such level.
    """
    frames = np.arange(len(dataset)) if indices is None else np.unique(np.asarray(indices))
    if frames.size and (frames[0] < 0 or frames[-1] >= len(dataset)):
        raise DataError(f"{dataset.path} has {len(dataset)} frames; an index is outside")
    if labelled is not None:
        frames = frames[with_any_label(dataset, labelled)[frames]]
    if not len(frames):
        what = f" with a label at {labelled}" if labelled else ""
        raise DataError(f"{dataset.path}: no frames{what} to split")
    names, groups = _groups(dataset, frames, by, key)
    order = np.random.default_rng(seed).permutation(len(names))
    if turn is not None:
        latest = np.full(len(names), np.iinfo(np.int64).min)
        np.maximum.at(latest, groups, turn[frames])
        order = order[np.argsort(latest[order], kind="stable")]
    owner = np.zeros(len(names), dtype=np.int64)
    for part, share in ((2, test), (1, validation)):
        taken = _take(share, names, groups, order, owner, _PARTS[part])
        owner[taken] = part
    parts = [frames[owner[groups] == k] for k in range(3)]
    if not len(parts[0]):
        raise DataError(
            f"{dataset.path}: nothing is left for training after validation ({len(parts[1])} "
            f"frames) and test ({len(parts[2])}); ask for less"
        )
    return Split(
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        by=by if by != "key" else f"key {key}",
        seed=seed,
        content_hash=dataset.content_hash,
    )


def _groups(
    dataset: Dataset, frames: NDArray[np.int64], by: SplitBy, key: str | None
) -> tuple[Sequence[str], NDArray[np.int64]]:
    """Returns the names of what is kept together, and which of them each frame belongs to."""
    if by == "random":
        prints = [fingerprint(frame.system) for frame in frames_of(dataset, frames, levels=())]
        distinct: dict[bytes, int] = {}
        groups = np.array([distinct.setdefault(p, len(distinct)) for p in prints])
        return [""] * len(distinct), groups
    if by == "molecule":
        present, groups = np.unique(dataset.group_idx[frames], return_inverse=True)
        return [dataset.group_names[k] for k in present], groups
    if by == "key" and key is None:
        raise DataError("a split by key needs the name of the array: key=...")
    column = dataset.column(by if by != "key" else str(key))[frames]
    if column.dtype.kind in "OS":  # text as files hold it, or as two files hold it
        column = np.array([v.decode() if isinstance(v, bytes) else str(v) for v in column])
    values, groups = np.unique(column, return_inverse=True)
    texts = [str(v) for v in values.tolist()]
    if by != "key" and len(texts) == 1:
        raise DataError(
            f"{dataset.path}: all {len(frames)} frames have the same {by}, {texts[0]!r}, so a "
            f"split by {by} would leave nothing for one side; add frames of another {by}, or "
            "split by='molecule' or by='random'"
        )
    return texts, groups.reshape(-1)


def _take(
    share: Share,
    names: Sequence[str],
    groups: NDArray[np.int64],
    order: NDArray[np.int64],
    owner: NDArray[np.int64],
    part: str,
) -> list[int]:
    """Returns which groups make up a part."""
    if not isinstance(share, int | float):
        if not any(names):
            raise DataError(
                f"{part}: a random split cannot take names; split by molecule, source or key"
            )
        for name in share:
            if name not in names:
                raise DataError(f"{part}: {name!r} is not in the dataset{nearest(name, names)}")
        taken = [names.index(name) for name in share]
        if any(owner[k] for k in taken):
            raise DataError(f"{part}: {list(share)} overlaps the other parts")
        return taken
    if share < 0 or (share >= 1 and share != int(share)):
        raise DataError(f"{part} is {share}; expected a fraction below 1 or a number of frames")
    if share > len(groups):
        raise DataError(f"{part} is {share} frames, but there are only {len(groups)} to divide")
    if share == 0:
        return []
    counts = np.bincount(groups, minlength=len(names))
    target = share * len(groups) if share < 1 else share
    free = order[owner[order] == 0]
    if counts.max() == 1:
        return [int(k) for k in free[: round(target)]] or _too_few(part, share, names, groups)
    taken, total = [], 0
    for k in free:
        if abs(total + counts[k] - target) <= abs(total - target):
            taken.append(int(k))
            total += int(counts[k])
    return taken or _too_few(part, share, names, groups)


def _too_few(part: str, share: float, names: Sequence[str], groups: NDArray[np.int64]) -> list[int]:
    raise DataError(
        f"{part} would be empty: {share} of {len(groups)} frames in {len(names)} indivisible "
        "groups; ask for more, or split by='random'"
    )
