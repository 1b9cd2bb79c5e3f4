"""Pairs of fragments that fade in while they meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import ConfigError
from tlpot.fragments.contacts import touching_sets
from tlpot.fragments.fragment import Cutter, Units
from tlpot.fragments.image import Shift
from tlpot.fragments.lattice import Lattice


@dataclass(frozen=True, kw_only=True)
class FadingPairs:
    """The two distances between which pairs fade, part of a scheme.

    Attributes:
        inner: Å; a pair counts fully once two of its atoms are closer.
        outer: Å; a pair does not count while all its atoms are further apart.

    Raises:
        ConfigError: distances that make no sense.
    """

    inner: float = 4.0
    outer: float = 5.0

    def __post_init__(self) -> None:
        if not 0.0 < self.inner <= self.outer < float("inf"):
            raise ConfigError(
                f"inner is {self.inner} Å and outer {self.outer} Å, expected "
                "0 < inner <= outer; 4 and 5 suit most uses"
            )

    @property
    def smooth(self) -> bool:
        """Whether pairs fade in."""
        return self.inner < self.outer

    @property
    def reach(self) -> float:
        """The larger distance."""
        return self.outer

    def certain_pairs(
        self,
        cutter: Cutter,
        sets: list[Units],
        positions: NDArray[np.float64],
        skin: float,
        lattice: Lattice | None,
    ) -> set[tuple[int, int, Shift]]:
        """Returns the pairs of sets that count fully, and the image of the second.

        They do so while atoms move by less than the skin, so that fragments that they add and
        take off cancel for good.
        """
        if self.inner <= skin:
            return set()
        near = touching_sets(sets, cutter.topology, positions, self.inner - skin, lattice)
        return {(i, j, shift) for i, j, shift, _ in near}
