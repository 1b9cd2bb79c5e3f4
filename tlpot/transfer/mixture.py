"""How many frames of other data an epoch has."""

from __future__ import annotations


def mixed_in(n_train: int, share: float) -> int:
    """Returns the number of other frames beside which `n_train` frames are `share` of all.

    An epoch then grows with the labels of the new level, not with the other data, of which
    there may be a thousand times as much.
    """
    return round(n_train * (1.0 - share) / share)
