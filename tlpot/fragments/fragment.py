"""One capped piece of a structure: hydrogens close the bonds that it cuts.

A cap sits at r_host + g (r_gone − r_host) with g = d(X–H) / d(X–Y): linear in the positions of
the real atoms, so forces and strain follow from it exactly, as in ONIOM link atoms
(Dapprich et al., doi:10.1016/S0166-1280(98)00475-8).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from tlpot.errors import GeometryError
from tlpot.fragments.contacts import Images
from tlpot.numbers import Floats, Ints
from tlpot.topology import Lattice, Topology

_TO_HYDROGEN = {1: 0.74, 6: 1.09, 7: 1.01, 8: 0.96, 14: 1.48, 15: 1.42, 16: 1.34, 34: 1.46}
_SINGLE = {
    (6, 6): 1.53,
    (6, 7): 1.46,
    (6, 8): 1.43,
    (6, 16): 1.82,
    (7, 7): 1.45,
    (7, 8): 1.40,
    (6, 15): 1.84,
    (8, 15): 1.61,
    (16, 16): 2.05,
    (6, 14): 1.86,
    (6, 34): 1.95,
}
_AMIDE = 1.335


def cap_ratio(host: int, replaced: int, *, amide: bool = False) -> float:
    """Returns g for a cap on an atom of element `host` towards one of element `replaced`.

    `host` is the atomic number of the atom that stays, `replaced` that of the one that the cap
    replaces; the C–N bond of an `amide` is shorter.

    Raises:
        GeometryError: no fragment may end at such a bond.
    """
    length = _SINGLE.get((min(host, replaced), max(host, replaced)))
    if amide and {host, replaced} == {6, 7}:
        length = _AMIDE
    if length is None or host not in _TO_HYDROGEN:
        raise GeometryError(
            f"no hydrogen cap is known for a cut between elements {host} and {replaced}; bonds "
            "that may be cut are single bonds of C, N, O, Si, P, S and Se. Keep the two atoms in "
            "one unit"
        )
    return _TO_HYDROGEN[host] / length


def ratio_table() -> dict[str, float]:
    """Returns g by bond, host first, such as ``C-N``; that of an amide is ``C-N amide``."""
    table = {
        f"{chemical_symbols[host]}-{chemical_symbols[replaced]}": cap_ratio(host, replaced)
        for pair in _SINGLE
        for host, replaced in (pair, pair[::-1])
    }
    for host, replaced in ((6, 7), (7, 6)):
        bond = f"{chemical_symbols[host]}-{chemical_symbols[replaced]} amide"
        table[bond] = cap_ratio(host, replaced, amide=True)
    return dict(sorted(table.items()))


Units = frozenset[int]
"""Indices of the units in a fragment; see `Images` for those of other periodic images."""


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
        replaced: [n_caps], index of the atom that a cap replaces.
        ratio: [n_caps], g in r_cap = r_host + g (r_gone − r_host).
        shifts: [n_real + n_caps, 3], the periodic image of each atom, in lattice vectors; an atom
            may be there in several. None if all are at home.
    """

    units: Units
    atomic_numbers: Ints
    charge: int
    real: Ints
    host: Ints
    replaced: Ints
    ratio: Floats
    shifts: Ints | None = None

    def __len__(self) -> int:
        return len(self.atomic_numbers)

    def positions(self, whole: Floats, lattice: Lattice | None = None) -> Floats:
        """Returns the positions of its atoms, [n, 3], from those of the structure, Å."""
        caps = whole[self.host] + self.ratio[:, None] * (whole[self.replaced] - whole[self.host])
        found = np.concatenate([whole[self.real], caps])
        if self.shifts is not None and lattice is not None:
            found = found + self.shifts @ lattice.vectors
        return found

    def atoms(self, whole: Floats, lattice: Lattice | None = None) -> Atoms:
        """Returns it as a molecule with its charge in ``info``."""
        return Atoms(
            numbers=self.atomic_numbers,
            positions=self.positions(whole, lattice),
            info={"charge": self.charge, "spin": 1},
        )


class Cutter:
    """Cuts fragments out of a structure, each just once.

    Args:
        topology: of the structure.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.images = Images(len(topology.units))
        self._cache: dict[Units, Fragment] = {}
        owner = topology.unit_of.tolist()
        kinds = [unit.kind for unit in topology.units]
        numbers = topology.atomic_numbers.tolist()
        # of each unit: (host, gone, unit of gone, ratio)
        self._cuts: list[list[tuple[int, int, int, float]]] = [[] for _ in topology.units]
        self._bonded: dict[int, set[int]] = {}
        for a, b in topology.cuts.tolist():
            amide = {kinds[owner[a]], kinds[owner[b]]} == {"amino", "carbonyl"}
            for host, replaced in ((a, b), (b, a)):
                ratio = cap_ratio(numbers[host], numbers[replaced], amide=amide)
                self._cuts[owner[host]].append((host, replaced, owner[replaced], ratio))
                self._bonded.setdefault(host, set()).add(replaced)
        self._owner = owner

    def cut(self, units: Units) -> Fragment:
        """Returns the capped fragment of some units."""
        found = self._cache.get(units)
        if found is None:
            own = self._cut_images if self.images.has_others(units) else self._cut
            found = self._cache[units] = own(units)
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
            replaced=np.array([c[1] for c in caps], dtype=np.int64),
            ratio=np.array([c[2] for c in caps], dtype=np.float64),
        )

    def _cut_images(self, units: Units) -> Fragment:
        """Joins what there is of each image; no bond leads from one to another."""
        parts = {shift: self.cut(part) for shift, part in self.images.split(units).items()}
        shifts = np.array(list(parts), dtype=np.int64)
        pieces = list(parts.values())
        n_real, n_caps = [len(p.real) for p in pieces], [len(p.host) for p in pieces]
        numbers = [p.atomic_numbers[: len(p.real)] for p in pieces]
        return Fragment(
            units=units,
            atomic_numbers=np.concatenate([*numbers, np.ones(sum(n_caps), dtype=np.int64)]),
            charge=sum(p.charge for p in pieces),
            real=np.concatenate([p.real for p in pieces]),
            host=np.concatenate([p.host for p in pieces]),
            replaced=np.concatenate([p.replaced for p in pieces]),
            ratio=np.concatenate([p.ratio for p in pieces]),
            shifts=np.concatenate(
                [np.repeat(shifts, n_real, axis=0), np.repeat(shifts, n_caps, axis=0)]
            ),
        )

    def with_labels(self, units: Iterable[int]) -> Units:
        """Adds what is missing between caps that would face each other.

        Two caps that replace the same atom, or two atoms bound to each other, would be within
        about 1 Å; the units of these atoms are added until there are no such caps. The property
        survives intersection.
        """
        inside = set(units)
        if self.images.has_others(inside):
            parts = self.images.split(inside).items()
            return frozenset().union(*(self.images.moved(self.with_labels(p), s) for s, p in parts))
        while True:
            replaced: dict[int, int] = {}
            for u in inside:
                for _, atom, unit, _ in self._cuts[u]:
                    if unit not in inside:
                        replaced[atom] = replaced.get(atom, 0) + 1
            facing = {
                self._owner[atom]
                for atom, times in replaced.items()
                if times > 1 or not self._bonded[atom].isdisjoint(replaced)
            }
            if not facing:
                return frozenset(inside)
            inside |= facing
