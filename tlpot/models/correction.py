"""Closed-form regressors on the features of a potential, as a term of its energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor


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
    has_forces: bool
    """Whether the energy can be differentiated in the positions."""

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
