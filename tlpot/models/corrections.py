"""Closed-form regressors on the features of a potential, as terms of its energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlpot.energy import EVERYTHING
from tlpot.nn import DoubleBuffer


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrectionInfo:
    """What a model file says about a correction; the numbers are tensors beside it.

    Attributes:
        kind: name of the regressor.
        blocks: whose features it reads, in this order.
        sizes: of what it stores, as far as elements and blocks do not fix them: nothing for
            ``linear``, frames for ``gaussian process``, nodes and trees for ``forest``.
        fit: how it was fitted and how well, for people.
    """

    kind: str
    blocks: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    fit: Mapping[str, Any] = field(default_factory=dict)


class Correction(Protocol):
    """A term of the energy that reads features."""

    info: CorrectionInfo
    implements: frozenset[str]
    """What it leaves of a model, see `tlpot.energy.implemented`."""

    def __call__(
        self, features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int
    ) -> Tensor:
        """Returns the energy of each atom, [n_atoms], eV, float64.

        Args:
            features: [n_atoms, n_features], float64.
            species: [n_atoms], index of each atom's element.
            system_idx: [n_atoms], which structure each atom belongs to.
            n_systems: number of structures.
        """
        ...


class LinearCorrection(nn.Module):
    """E_i += w_{z_i} · φ_i: linear in the features, with weights of its own for each element.

    There is no intercept, and the features of an atom without neighbours are zero, so a free
    atom keeps its reference energy exactly.

    Args:
        info: description.
        n_elements: elements of the potential.
        n_features: features of the blocks.
    """

    implements = EVERYTHING

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
