"""Molecular fractionation with conjugate caps, for stretches of any length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import ConfigError
from tlpot.fragments.expansion import Expansion
from tlpot.fragments.fragment import Cutter
from tlpot.fragments.inclusion_exclusion import inclusion_exclusion
from tlpot.fragments.windows import capped_windows
from tlpot.topology import Lattice


@dataclass(frozen=True, kw_only=True)
class MFCC:
    """Capped stretches of `size` amino acids minus their overlaps.

    With one amino acid the capped dipeptides of Zhang and Zhang, doi:10.1063/1.1591727; with
    two the two-residue fragments of TDL-FQM, doi:10.1093/bib/bbac532. Nothing beyond a stretch
    interacts.

    Attributes:
        size: amino acids in a stretch.

    Raises:
        ConfigError: less than one amino acid.
    """

    name: ClassVar[str] = "mfcc"
    summary: ClassVar[str] = "capped stretches of amino acids minus their overlaps"
    smooth: ClassVar[bool] = True
    size: int = 1

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"size is {self.size} amino acids, expected 1 or more")

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
        """Lists the fragments, see `Scheme`."""
        return Expansion.fixed(inclusion_exclusion(capped_windows(cutter.topology, self.size)))
