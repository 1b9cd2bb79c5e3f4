"""A division of a dataset, and the file that keeps it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Dataset, structures_hash
from tlpot.data.views import beneath_views
from tlpot.errors import ConfigError, DataError, nearest
from tlpot.files import write_text
from tlpot.stored_results import read_json

SplitPart = Literal["train", "validation", "test"]
PARTS: tuple[SplitPart, ...] = get_args(SplitPart)
"""What frames are for."""


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
        structures: `structures_hash` of the dataset, with which the split holds for the same
            structures with other labels; empty where it is not known.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    by: str
    seed: int
    content_hash: str
    structures: str = ""

    def subset(self, n: int) -> NDArray[np.int64]:
        """Returns `n` training frames, ascending; smaller subsets are part of larger ones.

        Raises:
            DataError: there are not that many, or `n` is not positive.
        """
        if not 0 < n <= len(self.train):
            raise DataError(f"cannot take {n} of {len(self.train)} training frames")
        order = np.random.default_rng([self.seed, 1]).permutation(len(self.train))
        return self.train[np.sort(order[:n])]

    @property
    def way(self) -> str:
        """How they were divided, to be read after "divided"."""
        if self.by.startswith("random"):
            return f"at {self.by}"
        return f"by {self.by}"

    def save(self, path: str | os.PathLike[str], structures: str = "") -> None:
        """Writes a JSON file.

        Args:
            path: the file.
            structures: see `Split`; empty for its own.

        Raises:
            OutputError: the file could not be written.
        """
        structures = structures or self.structures
        content: dict[str, Any] = {
            "by": self.by,
            "seed": self.seed,
            "content_hash": self.content_hash,
            **({"structures": structures} if structures else {}),
            **{part: getattr(self, part).tolist() for part in PARTS},
        }
        write_text(path, json.dumps(content) + "\n")


class Divided(Protocol):
    """What holds a division, such as the result of `tlpot.split_dataset`."""

    @property
    def split(self) -> Split:
        """The division."""
        ...


SplitSource = str | os.PathLike[str] | Split | Divided
"""A file that `Split.save` wrote, a division, or what holds one."""


def as_split(source: object) -> Split | None:
    """Returns the division that is given or held; None for a file and anything else."""
    held = getattr(source, "split", None)
    found = held if isinstance(held, Split) else source
    return found if isinstance(found, Split) else None


def split_words(source: SplitSource) -> str:
    """Returns what to call a division in a message."""
    return f"{source}" if isinstance(source, str | os.PathLike) else "the split"


def load_split(source: SplitSource, dataset: Dataset) -> Split:
    """Reads a split that was made for `dataset`, or for the same structures with other labels.

    Those of a view, such as a difference of levels, are the structures of its file.

    Raises:
        DataError: no such file, not a split, or made for another dataset.
        ConfigError: neither a file nor a division.
    """
    name, given, dataset = split_words(source), as_split(source), beneath_views(dataset)
    if given is not None:
        split = _with_arrays(given)
    elif isinstance(source, str | os.PathLike):
        split = _read(Path(source))
    else:
        raise ConfigError(
            f"split is a {type(source).__name__}; expected a file that 'tlpot data split' wrote, a "
            "tlpot.data.Split, or the result of tlpot.split_dataset"
        )
    if split.content_hash != dataset.content_hash:
        if not split.structures or split.structures != structures_hash(dataset):
            raise DataError(
                f"{name} was made for a dataset with SHA-256 {split.content_hash[:12]}..., but "
                f"{dataset.path} has {dataset.content_hash[:12]}... and not the same structures in "
                "the same order; use the same files, or, for a model that was not trained on "
                "them, make a new split"
            )
        split = replace(split, content_hash=dataset.content_hash)
    # who divides in Python may have frames of the training count several times
    train = split.train if given is None else np.unique(split.train)
    everything = np.concatenate([train, split.validation, split.test])
    if everything.size and (everything.min() < 0 or everything.max() >= len(dataset)):
        raise DataError(f"{name} names frames that {dataset.path} does not have")
    if len(np.unique(everything)) != len(everything):
        raise DataError(f"{name} uses a frame more than once")
    return split


def stored_part(
    split: SplitSource | None, part: SplitPart | None
) -> tuple[SplitSource, SplitPart] | None:
    """Returns a split and the part of it to look at, the test frames unless one is named.

    None for all frames, where there is no split.

    Raises:
        ConfigError: a part of no split, or no such part.
    """
    if part is not None and part not in PARTS:
        raise ConfigError(f"part is {part!r}{nearest(part, PARTS)}")
    if split is not None:
        return split, part or "test"
    if part is not None:
        raise ConfigError(
            f"part (--part) is {part!r}, but of which split is not said; give split (--split), "
            "such as MODEL.run/split.json, or leave part out for all frames"
        )
    return None


def _read(path: Path) -> Split:
    content = read_json(path, "make it again with tlpot data split")
    if content is None:
        raise DataError(f"no such file: {path}")
    try:
        return Split(
            by=str(content["by"]),
            seed=int(content["seed"]),
            content_hash=str(content["content_hash"]),
            structures=str(content.get("structures", "")),
            **{part: np.array(content[part], dtype=np.int64) for part in PARTS},
        )
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is not a split written by tlpot ({error!r})") from error


def _with_arrays(split: Split) -> Split:
    """Returns a split that may have been made by hand, with its frames in ascending order."""
    parts = {part: np.asarray(getattr(split, part)) for part in PARTS}
    for part, frames in parts.items():
        if frames.ndim != 1 or (frames.size and frames.dtype.kind not in "iu"):
            raise DataError(
                f"{part} of the split is {getattr(split, part)!r:.60}; expected the indices of "
                "its frames, a list of whole numbers"
            )
    train, validation, test = (np.sort(frames).astype(np.int64) for frames in parts.values())
    return replace(split, train=train, validation=validation, test=test)
