"""The whole structure as its own and only fragment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tlpot.fragments.expansion import Expansion
from tlpot.fragments.fragment import Cutter
from tlpot.topology import Lattice


@dataclass(frozen=True, kw_only=True)
class Direct:
    """No fragments: exact for the model and the cheapest, if it has seen what a protein holds."""

    name: ClassVar[str] = "direct"
    summary: ClassVar[str] = "the whole structure at once (right for a local model)"
    smooth: ClassVar[bool] = True

    @property
    def reach(self) -> None:
        """Positions do not matter."""
        return

    def expand(
        self,
        cutter: Cutter,
        positions: NDArray[np.float64],
        *,
        skin: float = 0.0,
        lattice: Lattice | None = None,
    ) -> Expansion:
        """Lists the one fragment, see `Scheme`."""
        return Expansion.fixed({frozenset(range(len(cutter.topology.units))): 1})
