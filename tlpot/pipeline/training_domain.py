"""What a model that was just trained is told about its training frames."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from tlpot.data import Dataset, Split
from tlpot.models import DeltaPotential, Potential
from tlpot.training import fit_domain


def tell_domain(
    model: Potential | DeltaPotential,
    levels: Collection[str],
    *,
    dataset: Dataset,
    split: Split,
    others: NDArray[np.int64],
    rates: Mapping[str, float],
    seed: int,
) -> None:
    """Gives each level of a model its training domain, or takes it away.

    Levels that were learned, or rehearsed, have that of all training frames. Another level keeps
    its own if the network below the readouts is what it was, and else has none.

    Args:
        model: just trained; of a sum the difference was.
        levels: those that the training had labels of.
        dataset: of the training.
        split: its division.
        others: further training frames.
        rates: learning-rate factors of the weights that moved.
        seed: of selections.
    """
    trained = model.delta if isinstance(model, DeltaPotential) else model
    moved = any(name.startswith("backbone.") for name in rates)
    learned = [level for level in trained.levels if level in levels]
    found = None
    if learned:
        frames = np.concatenate([split.train, others])
        found = fit_domain(trained.at(learned[0]), dataset, frames, split.validation, seed=seed)
    for level in trained.levels:
        head = trained.head(level)
        if level in learned and found is not None:
            head.domain = copy.deepcopy(found).to(device=trained.device, dtype=trained.dtype)
        elif moved:
            head.domain = None
