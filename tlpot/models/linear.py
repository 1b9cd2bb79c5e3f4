"""A linear map on the features of every atom, as a term of the energy."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlpot.models.correction import CorrectionInfo
from tlpot.nn.constant import DoubleBuffer


class LinearCorrection(nn.Module):
    """E_i += w_{z_i} · φ_i: linear in the features, with weights of its own for each element.

    There is no intercept, and the features of an atom without neighbours are zero, so a free
    atom keeps its reference energy exactly.

    Args:
        info: description.
        n_elements: elements of the potential.
        n_features: features of the blocks.
    """

    has_forces = True

    def __init__(self, info: CorrectionInfo, n_elements: int, n_features: int) -> None:
        super().__init__()
        self.info = info
        self.weights = DoubleBuffer(np.zeros((n_elements, n_features)))

    @classmethod
    def fitted(cls, info: CorrectionInfo, weights: NDArray[np.float64]) -> LinearCorrection:
        """Returns the correction with weights [n_elements, n_features], eV."""
        made = cls(info, *weights.shape)
        made.weights.value = torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float64))
        return made

    def forward(
        self, features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int
    ) -> Tensor:
        """See `Correction`."""
        return (features * self.weights.value.index_select(0, species)).sum(dim=1)
