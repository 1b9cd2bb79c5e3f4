"""Molecular fractionation with conjugate caps: MFCC, generalised MFCC, and MFCC-MBE(2)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import ClassVar

from tlpot.errors import ConfigError
from tlpot.fragments.contacts import HOME, Shift, close_units, opposite, touching_sets
from tlpot.fragments.expansion import Collector, Expansion
from tlpot.fragments.fragment import Cutter, Units
from tlpot.fragments.inclusion_exclusion import (
    SetLattice,
    inclusion_exclusion,
    intersection_lattice,
)
from tlpot.numbers import Floats
from tlpot.topology import Chain, Lattice, Topology

Pair = tuple[int, int, Shift]
"""Two sets by their numbers, and the image of the second."""
Near = tuple[Units, Units] | None
"""Units whose distances decide a weight, the second in an image; None for a weight of 1."""


def capped_windows(topology: Topology, size: int, *, pairs: bool = False) -> list[Units]:
    """Returns every stretch of `size` amino acids between the cores of its neighbours.

    The left neighbour gives its alpha and carbonyl units, the right one its amino and alpha
    units, so that a stretch looks as if capped by ACE and NME (the capped dipeptide for size 1).
    Residues that are bound to one of the stretch come along, each between such caps. Caps of the
    structure itself ride with the first and last stretch; what has no backbone, and a chain that
    is too short to be cut, is one piece. Where `pairs` of stretches are fragments, too, so is a
    ring so small that caps of a pair would face each other on its other side.
    """
    pieces = []
    smallest = (2 if pairs else 1) * size + 2
    for chain in topology.chains:
        places = _cores(topology, chain)
        n_cores = len(places)
        if n_cores <= (smallest if chain.cyclic else size):
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
    for place, step, names in (
        (places[0], -1, ("alpha", "carbonyl")),
        (places[-1], 1, ("amino", "alpha")),
    ):
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
        positions: Floats,
        *,
        skin: float = 0.0,
        lattice: Lattice | None = None,
    ) -> Expansion:
        """Lists the fragments, see `Scheme`."""
        return Expansion.fixed(inclusion_exclusion(capped_windows(cutter.topology, self.size)))


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
        topology: Topology,
        sets: list[Units],
        positions: Floats,
        skin: float,
        lattice: Lattice | None,
    ) -> set[tuple[int, int, Shift]]:
        """Returns the pairs of sets that count fully, and the image of the second.

        They do so while atoms move by less than the skin, so that fragments that they add and
        take off cancel for good.
        """
        if self.inner <= skin:
            return set()
        near = touching_sets(sets, topology, positions, self.inner - skin, lattice)
        return {(i, j, shift) for i, j, shift, _ in near}


@dataclass(frozen=True, kw_only=True)
class Dimers(FadingPairs):
    """Capped stretches and all pairs of them that are close: Σ s E(a) + Σ K ΔE(a, b).

    a and b run over stretches and what these have in common, with the signs s of `MFCC`;
    ΔE(a, b) is E(a ∪ b) − E(a) − E(b) + E(a ∩ b). With all pairs K is s(a) s(b), and this is the
    many-body expansion of second order, MFCC-MBE(2), see doi:10.1039/D5CP00727E. Here
    K = Σ μ(a, x) μ(b, y) w(x, y) over the x and y that contain a and b, with the Möbius function of
    this order (doi:10.1007/BF00531932) and w = 1 − Π (1 − φ(r)) over the pairs of atoms of the
    stretches that contain x and of those that contain y; φ falls from 1 at `inner` to 0 at `outer`
    with continuous second derivatives. So energy and forces are smooth while stretches meet and
    part, every pair of atoms within `inner` counts once, and none more than once. Where caps of a
    and b would face each other across a missing peptide bond, the bond is added to all four
    fragments.

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
        positions: Floats,
        *,
        skin: float = 0.0,
        lattice: Lattice | None = None,
    ) -> Expansion:
        """Lists the fragments, see `Scheme`."""
        windows = capped_windows(cutter.topology, self.size, pairs=True)
        found = Collector(cutter.images.canonical)
        for units, c in inclusion_exclusion(windows).items():
            found.add(units, c)
        family = intersection_lattice(windows)
        terms = self._terms(family, cutter, positions, skin, lattice)
        for (i, j, shift), weights in terms.items():
            a, b = family.sets[i], cutter.images.moved(family.sets[j], shift)
            if any(weights.values()) and not (a <= b or b <= a):
                four = self._four(cutter, a, b)
                for near, c in weights.items():
                    if c:
                        found.add_pair(c, *four, near)
        return found.expansion(self.inner, self.outer)

    def _terms(
        self,
        family: SetLattice,
        cutter: Cutter,
        positions: Floats,
        skin: float,
        lattice: Lattice | None,
    ) -> dict[Pair, dict[Near, int]]:
        """Returns the sums of μ(a, x) μ(b, y) over all x and y with the same w, by a and b.

        Weights are the same where the units that are close to each other are; the key is None
        where w is 1.
        """
        topology, images = cutter.topology, cutter.images
        certain = self.certain_pairs(topology, family.hulls, positions, skin, lattice)
        reach = self.outer + skin
        partners = close_units(topology, images, positions, reach, lattice)
        found: dict[Pair, dict[Near, int]] = {}

        def add(a: int, b: int, shift: Shift, near: Near, c: int) -> None:
            if a > b or (a == b and shift < HOME):
                a, b, shift = b, a, opposite(shift)
            weights = found.setdefault((a, b, shift), {})
            weights[near] = weights.get(near, 0) + c

        for below in family.below:
            for (a, m), (b, n) in combinations(below, 2):
                add(a, b, HOME, None, m * n)
        for x, y, shift, share in touching_sets(family.hulls, topology, positions, reach, lattice):
            near = None
            if not share and (x, y, shift) not in certain:
                one, other = family.hulls[x], images.moved(family.hulls[y], shift)
                one = frozenset(u for u in one if partners[u] & other)
                other = other & frozenset().union(*(partners[u] for u in one))
                turn = shift == HOME and min(other) < min(one)
                near = (other, one) if turn else (one, other)
            for (a, m), (b, n) in product(family.below[x], family.below[y]):
                if a != b or shift != HOME:
                    add(a, b, shift, near, m * n)
        return found

    def _four(self, cutter: Cutter, a: Units, b: Units) -> tuple[Units, Units, Units, Units]:
        """Returns the union of a pair, its two fragments and what they have in common.

        A gap in the union is filled in all four, unless caps of one of them would then face each
        other, as beside a ring of the backbone.
        """
        union = cutter.with_labels(a | b) if self.fill else a | b
        gap = union - a - b
        four = union, a | gap, b | gap, (a & b) | gap
        if gap and any(cutter.with_labels(units) != units for units in four[1:]):
            return a | b, a, b, a & b
        return four


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
        positions: Floats,
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
        cores = list(dict.fromkeys(_bound_residues(topology)))
        together = {(a, b) for p in primaries for a in p for b in p}
        certain = self.certain_pairs(topology, cores, positions, skin, lattice)
        pairs = touching_sets(cores, topology, positions, self.outer + skin, lattice)
        for i, j, shift, share in pairs:
            a, b = cores[i], cutter.images.moved(cores[j], shift)
            if share or (shift == HOME and (min(a), min(b)) in together):
                continue
            near = None if (i, j, shift) in certain else (a, b)
            found.add_pair(1.0, a | b, a, b, frozenset(), near)
        return found.expansion(self.inner, self.outer)


def _bound_residues(topology: Topology) -> list[Units]:
    """Residues with their terminal caps; those that are bound to each other are one."""
    cores = [units for chain in topology.chains for units in merged_residues(topology, chain)]
    of_unit: dict[int, Units] = {}
    for units in cores:
        grown = units.union(*(of_unit[u] for u in units if u in of_unit))
        of_unit.update(dict.fromkeys(grown, grown))
    return [of_unit[min(units)] for units in cores]
