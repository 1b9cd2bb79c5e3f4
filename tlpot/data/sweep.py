"""Every frame once, in batches as a model wants them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tlpot.data.batch import Batch
from tlpot.data.dataset import Dataset
from tlpot.data.loader import Loader
from tlpot.energy import EnergyModel, layout_of
from tlpot.progress_bar import progress_bar


def sweep(
    model: EnergyModel,
    dataset: Dataset,
    indices: Sequence[int] | NDArray[np.int64],
    levels: Sequence[str],
    *,
    device: torch.device | str,
    batch_size: int,
    max_atoms: int | None = None,
    name: str = "evaluate",
    show: bool | None = None,
) -> Iterator[Batch]:
    """Yields batches in the order of the frames, on a device.

    Args:
        model: decides cutoff and layout of the pairs.
        dataset: the frames.
        indices: which of them; those of one size together waste nothing on padding.
        levels: whose labels to carry.
        device: where the model is.
        batch_size: frames in a batch.
        max_atoms: atoms in a batch; None for no bound.
        name: for the progress bar.
        show: whether there is one; None for where somebody sees it.

    Raises:
        DataError: there are no frames, or none has a label at any of the levels.
    """
    loader = Loader(
        dataset, indices, levels=levels, cutoff=model.cutoff, batch_size=batch_size,
        max_atoms=max_atoms, shuffle=False, layout=layout_of(model), memo_bytes=0,
    )  # fmt: skip
    hidden = None if show is None else not show
    for batch in progress_bar(loader.batches(0), total=loader.n_batches(0), disable=hidden,
                      file=sys.stderr, desc=name, dynamic_ncols=True):  # fmt: skip
        assert batch is not None  # there is one process
        yield batch.to(device)
