"""MFCC with two-body terms between capped fragments that fade in: MFCC-MBE(2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import ConfigError
from tlpot.fragments.contacts import Shift, touching_sets
from tlpot.fragments.expansion import Collector, Expansion
from tlpot.fragments.fragment import Cutter, Units
from tlpot.fragments.inclusion_exclusion import inclusion_exclusion
from tlpot.fragments.schemes.mfcc import capped_windows
from tlpot.topology import Lattice


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


@dataclass(frozen=True, kw_only=True)
class Dimers(FadingPairs):
    """Capped stretches and all pairs of them that are close: Σ s E(a) + Σ s s w ΔE(a, b).

    a and b run over stretches and their overlaps with the signs s of `MFCC`; ΔE(a, b) is
    E(a ∪ b) − E(a) − E(b) + E(a ∩ b). With w = 1 for all pairs this is the many-body expansion
    of second order, MFCC-MBE(2), see doi:10.1039/D5CP00727E. Here
    w = 1 − Π (1 − φ(r)) over the pairs of atoms of both, where φ falls from 1 at `inner` to 0
    at `outer` with continuous second derivatives, so that energy and forces are smooth while
    fragments meet and part. Where caps of a and b would face each other across a missing
    peptide bond, the bond is added to all four fragments.

    Attributes:
        inner: Å; a pair counts fully once two of its atoms are closer.
        outer: Å; a pair does not count while all its atoms are further apart. Equal to
            `inner` the list is hard and the energy jumps: for single points only.
        size: amino acids in a stretch.
        fill: close gaps of one peptide bond between the fragments of a pair.

    Raises:
        ConfigError: a distance or size that makes no sense.
    """

    name: ClassVar[str] = "mfcc_mbe2"
    summary: ClassVar[str] = "capped stretches and their dimers (recommended)"
    size: int = 1
    fill: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1:
            raise ConfigError(f"size is {self.size} amino acids, expected 1 or more")

    def expand(
        self,
        cutter: Cutter,
        positions: NDArray[np.float64],
        *,
        skin: float = 0.0,
        lattice: Lattice | None = None,
    ) -> Expansion:
        """Lists the fragments, see `Scheme`."""
        signed = inclusion_exclusion(capped_windows(cutter.topology, self.size))
        sets = list(signed)
        found = Collector(cutter.images.canonical)
        for units, c in signed.items():
            found.add(units, c)
        certain = self.certain_pairs(cutter, sets, positions, skin, lattice)
        near = touching_sets(sets, cutter.topology, positions, self.outer + skin, lattice)
        for i, j, shift, share in near:
            a, b = sets[i], cutter.images.moved(sets[j], shift)
            if a <= b or b <= a:
                continue
            union = cutter.with_labels(a | b) if self.fill else a | b
            gap = union - a - b
            found.add_pair(
                signed[sets[i]] * signed[sets[j]],
                union,
                a | gap,
                b | gap,
                (a & b) | gap,
                None if share or (i, j, shift) in certain else (a, b),
            )
        return found.expansion(self.inner, self.outer)
