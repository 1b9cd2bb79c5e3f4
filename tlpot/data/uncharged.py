"""A dataset as a model sees it that reads no charges."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tlpot.data.frame import Frame
from tlpot.data.view import DatasetView


class UnchargedDataset(DatasetView):
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
        """Returns frames in the order asked for, with the labels of `levels` (default: all).

        Raises:
            DataError: an index is out of range, or the file is damaged.
        """
        return [
            replace(frame, system=replace(frame.system, charge=0, spin=1))
            for frame in self.dataset.read(indices, levels)
        ]
