"""Molecular fractionation with conjugate caps: overlapping stretches of a chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import ConfigError
from tlpot.fragments.expansion import Expansion
from tlpot.fragments.fragment import Cutter, Units
from tlpot.fragments.inclusion_exclusion import inclusion_exclusion
from tlpot.topology import Chain, Lattice, Topology


def capped_windows(topology: Topology, size: int) -> list[Units]:
    """Returns every stretch of `size` amino acids between the cores of its neighbours.

    The left neighbour gives its alpha and carbonyl units, the right one its amino and alpha
    units, so that a stretch looks as if capped by ACE and NME (the capped dipeptide for size 1).
    Residues that are bound to one of the stretch come along, each between such caps. Caps of the
    structure itself ride with the first and last stretch; what has no backbone, and a chain that
    is too short to be cut, is one piece.

    Args:
        topology: of the structure.
        size: amino acids in a stretch, 1 or more.
    """
    pieces = []
    for chain in topology.chains:
        places = _cores(topology, chain)
        n_cores = len(places)
        if n_cores <= (size + 2 if chain.cyclic else size):
            pieces.append(_all_units(topology, chain.residues))
            continue
        last = n_cores if chain.cyclic else n_cores - size + 1
        for start in range(last):
            window = [places[(start + k) % n_cores] for k in range(size)]
            pieces.append(_capped(topology, chain, window))
    return _joined(topology, pieces)


def plain_windows(topology: Topology, size: int) -> list[Units]:
    """Returns every stretch of `size` whole residues, cut at the peptide bonds.

    Caps of the structure count as part of the residue that they are bound to.
    """
    pieces = []
    for chain in topology.chains:
        cores = merged_residues(topology, chain)
        n_cores = len(cores)
        if n_cores <= size:
            pieces.append(frozenset().union(*cores))
            continue
        last = n_cores if chain.cyclic else n_cores - size + 1
        pieces += [
            frozenset().union(*(cores[(start + k) % n_cores] for k in range(size)))
            for start in range(last)
        ]
    return _joined(topology, pieces, capped=False)


def merged_residues(topology: Topology, chain: Chain) -> list[Units]:
    """Returns the units of each amino acid of a chain, terminal caps added to their neighbour."""
    residues = [topology.residues[r] for r in chain.residues]
    sets = [frozenset(r.units) for r in residues]
    if len(sets) > 1 and residues[0].kind == "n-cap":
        sets[:2] = [sets[0] | sets[1]]
    if len(sets) > 1 and residues[-1].kind == "c-cap":
        sets[-2:] = [sets[-2] | sets[-1]]
    return sets


def _cores(topology: Topology, chain: Chain) -> list[int]:
    """Places in the chain that hold an amino acid."""
    return [k for k, r in enumerate(chain.residues) if topology.residues[r].kind == "amino"]


def _all_units(topology: Topology, residues: tuple[int, ...]) -> Units:
    return frozenset(u for r in residues for u in topology.residues[r].units)


def _capped(topology: Topology, chain: Chain, places: list[int]) -> Units:
    units = {u for k in places for u in topology.residues[chain.residues[k]].units}
    n_residues = len(chain.residues)
    for place, step, names in ((places[0], -1, ("alpha", "carbonyl")),
                               (places[-1], 1, ("amino", "alpha"))):  # fmt: skip
        beside = place + step
        if not chain.cyclic and not 0 <= beside < n_residues:
            continue
        neighbor = topology.residues[chain.residues[beside % n_residues]]
        if neighbor.kind == "amino":
            units |= {u for name in names if (u := getattr(neighbor, name)) is not None}
        else:
            units |= set(neighbor.units)
    return frozenset(units)


def _joined(topology: Topology, pieces: list[Units], *, capped: bool = True) -> list[Units]:
    """Adds to each piece the partners of its cores, until none is missing."""
    if not any(residue.partners for residue in topology.residues):
        return pieces
    home = {r: (c, k) for c in topology.chains for k, r in enumerate(c.residues)}
    # a residue is a core of a piece that has all its units; its caps have a part of them
    full = {r: frozenset(residue.units) for r, residue in enumerate(topology.residues)}
    joined = []
    for piece in pieces:
        grown = piece
        while True:
            missing = {
                p
                for r, units in full.items()
                if units <= grown
                for p in topology.residues[r].partners
                if not full[p] <= grown
            }
            if not missing:
                break
            for p in missing:
                chain, place = home[p]
                one = _capped(topology, chain, [place]) if capped else full[p]
                grown = grown | one | full[p]
        joined.append(grown)
    return joined


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
