"""Everything around each residue: the accurate and expensive reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import ConfigError
from tlpot.fragments.contacts import unit_contacts
from tlpot.fragments.expansion import Expansion
from tlpot.fragments.fragment import Cutter
from tlpot.fragments.inclusion import inclusion_exclusion


@dataclass(frozen=True, kw_only=True)
class Sphere:
    """All units with an atom within `radius` of a residue, for each residue, minus overlaps.

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
        self, cutter: Cutter, positions: NDArray[np.float64], *, skin: float = 0.0
    ) -> Expansion:
        """Lists the fragments, see `Scheme`; the list is exact, so there is no skin."""
        topology = cutter.topology
        contacts = unit_contacts(topology, positions, self.radius)
        primaries = []
        for residue in topology.residues:
            around = {int(v) for u in residue.units for v in contacts[[u], :].indices}
            primaries.append(cutter.filled(around))
        return Expansion.fixed(inclusion_exclusion(primaries))
