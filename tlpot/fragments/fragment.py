"""One capped piece of a structure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tlpot.fragments.caps import cap_ratio
from tlpot.fragments.topology import Topology

Units = frozenset[int]
"""Indices of the units in a fragment."""


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """The atoms of some units and the hydrogen caps on the bonds that were cut.

    Real atoms come first, in the order of the structure, then the caps.

    Attributes:
        units: what it is made of.
        atomic_numbers: [n_real + n_caps].
        charge: formal charge, e.
        real: [n_real], indices in the structure.
        host: [n_caps], index in the structure of the atom that a cap is bound to.
        gone: [n_caps], index of the atom that a cap replaces.
        ratio: [n_caps], g in r_cap = r_host + g (r_gone − r_host).
    """

    units: Units
    atomic_numbers: NDArray[np.int64]
    charge: int
    real: NDArray[np.int64]
    host: NDArray[np.int64]
    gone: NDArray[np.int64]
    ratio: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.atomic_numbers)

    def positions(self, whole: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the positions of its atoms, [n, 3], from those of the structure, Å."""
        caps = whole[self.host] + self.ratio[:, None] * (whole[self.gone] - whole[self.host])
        return np.concatenate([whole[self.real], caps])

    def atoms(self, whole: NDArray[np.float64]) -> Atoms:
        """Returns it as a molecule with its charge in ``info``."""
        return Atoms(
            numbers=self.atomic_numbers,
            positions=self.positions(whole),
            info={"charge": self.charge, "spin": 1},
        )


class Cutter:
    """Cuts fragments out of a structure, each just once.

    Args:
        topology: of the structure.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._cache: dict[Units, Fragment] = {}
        owner = topology.unit_of.tolist()
        kinds = [unit.kind for unit in topology.units]
        numbers = topology.atomic_numbers.tolist()
        # of each unit: (host, gone, unit of gone, ratio)
        self._cuts: list[list[tuple[int, int, int, float]]] = [[] for _ in topology.units]
        self._bonded: dict[int, set[int]] = {}
        for a, b in topology.cuts.tolist():
            amide = {kinds[owner[a]], kinds[owner[b]]} == {"amino", "carbonyl"}
            for host, gone in ((a, b), (b, a)):
                ratio = cap_ratio(numbers[host], numbers[gone], amide=amide)
                self._cuts[owner[host]].append((host, gone, owner[gone], ratio))
                self._bonded.setdefault(host, set()).add(gone)
        self._owner = owner

    def cut(self, units: Units) -> Fragment:
        """Returns the capped fragment of some units."""
        found = self._cache.get(units)
        if found is None:
            found = self._cache[units] = self._cut(units)
        return found

    def _cut(self, units: Units) -> Fragment:
        all_units = self.topology.units
        real = np.array(sorted(i for u in units for i in all_units[u].atoms), dtype=np.int64)
        caps = sorted(
            cut[:2] + cut[3:] for u in units for cut in self._cuts[u] if cut[2] not in units
        )
        numbers = self.topology.atomic_numbers[real]
        return Fragment(
            units=units,
            atomic_numbers=np.concatenate([numbers, np.ones(len(caps), dtype=np.int64)]),
            charge=sum(all_units[u].charge for u in units),
            real=real,
            host=np.array([c[0] for c in caps], dtype=np.int64),
            gone=np.array([c[1] for c in caps], dtype=np.int64),
            ratio=np.array([c[2] for c in caps], dtype=np.float64),
        )

    def filled(self, units: Iterable[int]) -> Units:
        """Adds what is missing between caps that would face each other.

        Two caps that replace the same atom, or two atoms bound to each other, would be within
        about 1 Å; the units of these atoms are added until there are no such caps. The property
        survives intersection.
        """
        inside = set(units)
        while True:
            gone: dict[int, int] = {}
            for u in inside:
                for _, atom, unit, _ in self._cuts[u]:
                    if unit not in inside:
                        gone[atom] = gone.get(atom, 0) + 1
            facing = {
                self._owner[atom]
                for atom, times in gone.items()
                if times > 1 or not self._bonded[atom].isdisjoint(gone)
            }
            if not facing:
                return frozenset(inside)
            inside |= facing
