"""The data that the parent was trained on, and how much of it an epoch has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlpot.data import Dataset, NeutralDataset, open_dataset
from tlpot.errors import DataError, nearest
from tlpot.transfer.context import TransferContext


def mixed_in(n_train: int, share: float) -> int:
    """Returns the number of other frames beside which `n_train` frames are `share` of all.

    An epoch then grows with the labels of the new level, not with the other data, of which
    there may be a thousand times as much.
    """
    return round(n_train * (1.0 - share) / share)


def open_source(files: Sequence[Path], spec: str | None, context: TransferContext) -> Dataset:
    """Opens the source data.

    Args:
        files: as for `open_dataset`.
        spec: their layout, if it is not tlpot's own.
        context: whose parent has learned them.

    Raises:
        DataError: it cannot be read, or has no frame with an energy at the parent's level, or
            elements that the parent does not know.
    """
    source = context.source
    old = open_dataset(list(files), spec, level=source)
    if source not in old.levels:
        raise DataError(
            f"{old.path} has no labels at the parent's level {source!r}"
            f"{nearest(source, old.levels)}"
        )
    foreign = set(old.elements) - set(context.parent.elements)
    if foreign:
        raise DataError(f"{old.path}: the parent does not know the elements {sorted(foreign)}")
    if not old.labelled(source).any():
        raise DataError(f"{old.path}: no frame has an energy at {source}")
    # a model that reads no charges has read none of these either
    return NeutralDataset(old) if isinstance(context.dataset, NeutralDataset) else old


def source_frames(old: Dataset, context: TransferContext) -> NDArray[np.int64]:
    """Returns the frames of the source data with an energy at the parent's level, shuffled."""
    labelled = np.flatnonzero(old.labelled(context.source))
    return np.random.default_rng([context.seed, 3]).permutation(labelled)
