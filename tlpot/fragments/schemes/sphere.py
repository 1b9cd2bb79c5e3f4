"""Everything around each residue: the accurate and expensive reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tlpot.errors import ConfigError
from tlpot.fragments.contacts import opposite, touching_sets
from tlpot.fragments.expansion import Expansion
from tlpot.fragments.fragment import Cutter, Units
from tlpot.fragments.inclusion_exclusion import inclusion_exclusion, periodic_inclusion_exclusion
from tlpot.fragments.schemes.mfcc import capped_windows
from tlpot.numbers import Floats
from tlpot.topology import Lattice, Topology


@dataclass(frozen=True, kw_only=True)
class Sphere:
    """Each residue with all residues within `radius` of it, capped, minus overlaps.

    The subsystems of the generalised energy-based fragmentation of Li, Li and Jiang,
    doi:10.1021/jp067721q, joined by inclusion and exclusion. Fragments have up to a few
    hundred atoms. The list is hard: for single points, not for dynamics.

    Attributes:
        radius: Å.

    Raises:
        ConfigError: the radius is not positive.
    """

    name: ClassVar[str] = "sphere"
    summary: ClassVar[str] = "everything around each residue (reference, single points)"
    smooth: ClassVar[bool] = False
    radius: float = 3.0

    def __post_init__(self) -> None:
        if not 0.0 < self.radius < float("inf"):
            raise ConfigError(f"radius is {self.radius} Å, expected a positive number; 3 is usual")

    @property
    def reach(self) -> float:
        """The radius."""
        return self.radius

    def expand(
        self,
        cutter: Cutter,
        positions: Floats,
        *,
        skin: float = 0.0,
        lattice: Lattice | None = None,
    ) -> Expansion:
        """Lists the fragments, see `Scheme`; the list is exact, so there is no skin."""
        windows = list(dict.fromkeys(capped_windows(cutter.topology, 1)))
        cores = [_core(cutter.topology, units) for units in windows]
        near = touching_sets(cores, cutter.topology, positions, self.radius, lattice)
        around = [set(units) for units in windows]
        for i, j, shift, _ in near:
            around[i] |= cutter.images.moved(windows[j], shift)
            around[j] |= cutter.images.moved(windows[i], opposite(shift))
        with_labels = [cutter.with_labels(units) for units in around]
        if lattice is None:
            return Expansion.fixed(inclusion_exclusion(with_labels))
        return Expansion.fixed(periodic_inclusion_exclusion(with_labels, cutter.images))


def _core(topology: Topology, window: Units) -> Units:
    """What a window has beyond the caps that it gets from its neighbours."""
    whole = (frozenset(r.units) for r in topology.residues if window.issuperset(r.units))
    return frozenset().union(*whole)
