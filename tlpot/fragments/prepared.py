"""A structure made ready for a scheme: its fragments, kept while they stay the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray
from torch import Tensor

from tlpot.errors import GeometryError
from tlpot.fragments.assembly import Assembly
from tlpot.fragments.batch import FragmentBatch
from tlpot.fragments.expansion import Expansion
from tlpot.fragments.fragment import Cutter
from tlpot.fragments.schemes import Scheme
from tlpot.fragments.switch import PairWeights
from tlpot.fragments.topology import Topology

SKIN = 0.3
"""Å."""

STRETCHED = 1.6
"""A bond this many times the sum of the covalent radii is broken."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """The fragments of a structure at some positions.

    Attributes:
        expansion: fragments and coefficients.
        batch: the fragments as molecules.
        weights: of the pair terms, None if there are none.
    """

    expansion: Expansion
    batch: FragmentBatch
    weights: PairWeights | None

    def coefficients(self, positions: Tensor) -> Tensor:
        """Returns the coefficient of each fragment, [n_fragments], differentiable."""
        device = positions.device
        found = torch.from_numpy(self.expansion.base).to(device)
        terms = self.expansion.pairs
        if terms is None or self.weights is None:
            return found
        strength = torch.from_numpy(terms.sign).to(device) * self.weights(positions)
        some = torch.from_numpy(np.flatnonzero(terms.meet >= 0)).to(device)
        for index, part in (
            (terms.union, strength),
            (terms.left, -strength),
            (terms.right, -strength),
        ):
            found = found.index_add(0, torch.from_numpy(index).to(device), part)
        meet = torch.from_numpy(terms.meet).to(device)[some]
        return found.index_add(0, meet, strength[some])


class Prepared:
    """Fragments of one structure by one scheme.

    The list of fragments is made anew when an atom has moved by half of `skin` since it was
    made, and kept otherwise; a scheme with a hard list makes it anew for all positions. What
    the list holds beyond the reach of a smooth scheme has weight 0, so the energy depends on
    the positions alone, but for rounding.

    Args:
        topology: of the structure.
        scheme: the scheme.
        skin: Å, of the list of fragments.
        pair_skin: Å, of the neighbour search within fragments.
    """

    def __init__(
        self, topology: Topology, scheme: Scheme, *, skin: float = SKIN, pair_skin: float = 0.5
    ) -> None:
        self.topology, self.scheme = topology, scheme
        self.skin, self.pair_skin = skin, pair_skin
        self.cutter = Cutter(topology)
        self.n_lists = 0
        self._last: Partition | None = None
        self._where: NDArray[np.float64] | None = None

    def partition(self, positions: NDArray[np.float64]) -> Partition:
        """Returns the fragments at some positions, [n_atoms, 3], Å."""
        if self._last is None or not self._covers(positions):
            skin = self.skin if self.scheme.smooth else 0.0
            expansion = self.scheme.expand(self.cutter, positions, skin=skin)
            if self._last is not None and _same(self._last.expansion, expansion):
                expansion = self._last.expansion
                batch = self._last.batch
            else:
                fragments = [self.cutter.cut(units) for units in expansion.sets]
                assembly = Assembly(fragments, len(self.topology.atomic_numbers))
                batch = FragmentBatch(assembly, skin=self.pair_skin)
            weights = None
            if expansion.pairs is not None:
                weights = PairWeights(self.topology, expansion.pairs, positions, skin)
            self._last = Partition(expansion=expansion, batch=batch, weights=weights)
            self._where = positions.copy()
            self.n_lists += 1
        return self._last

    def _covers(self, positions: NDArray[np.float64]) -> bool:
        if self.scheme.reach is None:
            return True
        assert self._where is not None
        moved = positions - self._where
        furthest = float(np.einsum("ij,ij->i", moved, moved).max())
        return furthest <= (0.5 * self.skin) ** 2 if self.scheme.smooth else furthest == 0.0

    def broken_bonds(self, positions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Returns the bonds that are far too long, [n_broken, 2]."""
        bonds = self.topology.bonds
        vectors = positions[bonds[:, 0]] - positions[bonds[:, 1]]
        radii = covalent_radii[self.topology.atomic_numbers]
        limit = STRETCHED * (radii[bonds[:, 0]] + radii[bonds[:, 1]])
        return bonds[~(np.einsum("ij,ij->i", vectors, vectors) < limit**2)]

    def check_bonds(self, positions: NDArray[np.float64]) -> None:
        """Checks that the structure still has the bonds that its fragments were made from.

        Raises:
            GeometryError: a bond is broken; the first three are named.
        """
        broken = self.broken_bonds(positions)
        if len(broken):
            symbols = [chemical_symbols[z] for z in self.topology.atomic_numbers]
            names = ", ".join(
                f"{symbols[i]}{i}–{symbols[j]}{j} "
                f"({np.linalg.norm(positions[i] - positions[j]):.2f} Å)"
                for i, j in broken[:3].tolist()
            )
            more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
            raise GeometryError(
                f"bonds that the fragments were made from are broken: {names}{more}. If this is "
                "another molecule, make a new calculator; in dynamics, the model or the time step "
                "is not good enough"
            )


def _same(old: Expansion, new: Expansion) -> bool:
    if old.sets != new.sets or not np.array_equal(old.base, new.base):
        return False
    if old.pairs is None or new.pairs is None:
        return old.pairs is new.pairs
    return all(
        np.array_equal(getattr(old.pairs, name), getattr(new.pairs, name))
        for name in ("sign", "union", "left", "right", "meet")
    )
