"""Generalised MFCC, as published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tlpot.fragments.contacts import HOME, touching_sets
from tlpot.fragments.expansion import Collector, Expansion
from tlpot.fragments.fragment import Cutter, Units
from tlpot.fragments.inclusion_exclusion import inclusion_exclusion
from tlpot.fragments.schemes.dimers import FadingPairs
from tlpot.fragments.schemes.mfcc import merged_residues, plain_windows
from tlpot.topology import Lattice, Topology


@dataclass(frozen=True, kw_only=True)
class GMFCC(FadingPairs):
    """Stretches of three residues, and pairs of residues that are further along but close.

    He and Zhang, J. Chem. Phys. 2006, 124, 184703, for parity with published figures; `mfcc_mbe2`
    is more accurate. Stretches are cut at the peptide bonds; pairs are E(ij) − E(i) − E(j) of
    residues three or more apart in a chain, or in different chains. The published list is
    hard at 4 Å; here pairs fade between two distances unless these are equal.

    Attributes:
        inner: Å; a pair counts fully once two of its atoms are closer.
        outer: Å; a pair does not count while all its atoms are further apart.

    Raises:
        ConfigError: distances that make no sense.
    """

    name: ClassVar[str] = "gmfcc"
    summary: ClassVar[str] = "three-residue stretches and close residue pairs, as published"
    inner: float = 3.5
    outer: float = 4.5

    def expand(
        self,
        cutter: Cutter,
        positions: NDArray[np.float64],
        *,
        skin: float = 0.0,
        lattice: Lattice | None = None,
    ) -> Expansion:
        """Lists the fragments, see `Scheme`."""
        topology = cutter.topology
        primaries = plain_windows(topology, 3)
        found = Collector(cutter.images.canonical)
        for units, c in inclusion_exclusion(primaries).items():
            found.add(units, c)
        cores = list(dict.fromkeys(_cores(topology)))
        together = {(a, b) for p in primaries for a in p for b in p}
        certain = self.certain_pairs(cutter, cores, positions, skin, lattice)
        pairs = touching_sets(cores, topology, positions, self.outer + skin, lattice)
        for i, j, shift, share in pairs:
            a, b = cores[i], cutter.images.moved(cores[j], shift)
            if share or (shift == HOME and (min(a), min(b)) in together):
                continue
            near = None if (i, j, shift) in certain else (a, b)
            found.add_pair(1.0, a | b, a, b, frozenset(), near)
        return found.expansion(self.inner, self.outer)


def _cores(topology: Topology) -> list[Units]:
    """Residues with their terminal caps; those that are bound to each other are one."""
    cores = [units for chain in topology.chains for units in merged_residues(topology, chain)]
    of_unit: dict[int, Units] = {}
    for units in cores:
        grown = units.union(*(of_unit[u] for u in units if u in of_unit))
        of_unit.update(dict.fromkeys(grown, grown))
    return [of_unit[min(units)] for units in cores]
