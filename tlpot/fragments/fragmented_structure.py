"""A structure made ready for a scheme: its fragments, kept while they stay the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from tlpot.bond_thresholds import BROKEN, RADII
from tlpot.errors import GeometryError
from tlpot.fragments.batch import FragmentBatch, FragmentMap
from tlpot.fragments.expansion import Expansion, PairWeights
from tlpot.fragments.fragment import Cutter
from tlpot.fragments.schemes.scheme import Scheme
from tlpot.topology import Continuity, Lattice, Topology

SKIN = 0.3
"""Å."""


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

    def coefficients(self, positions: Tensor, cell: Tensor | None = None) -> Tensor:
        """Returns the coefficient of each fragment, [n_fragments], differentiable.

        Args:
            positions: [n_atoms, 3], Å, of whole molecules.
            cell: [3, 3], Å; None in vacuum.
        """
        device = positions.device
        found = torch.from_numpy(self.expansion.base).to(device)
        terms = self.expansion.pairs
        if terms is None or self.weights is None:
            return found
        strength = torch.from_numpy(terms.sign).to(device) * self.weights(positions, cell)
        some = torch.from_numpy(np.flatnonzero(terms.meet >= 0)).to(device)
        for index, part in (
            (terms.union, strength),
            (terms.left, -strength),
            (terms.right, -strength),
        ):
            found = found.index_add(0, torch.from_numpy(index).to(device), part)
        meet = torch.from_numpy(terms.meet).to(device)[some]
        return found.index_add(0, meet, strength[some])


class FragmentedStructure:
    """Fragments of one structure by one scheme.

    The list of fragments is made anew when an atom has moved by half of `skin` since it was
    made, and kept otherwise; a scheme with a hard list makes it anew for all positions. What
    the list holds beyond the reach of a smooth scheme has weight 0, so the energy depends on
    the positions alone, but for rounding. A strained cell uses up the skin, too, and atoms that
    were moved to another image of theirs do not.

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
        self._lattice: Lattice | None = None
        self._continuity = Continuity(len(topology.atomic_numbers), topology.bonds)

    def images(
        self, positions: NDArray[np.float64], lattice: Lattice | None
    ) -> NDArray[np.float64] | None:
        """Returns n for which molecules at ``positions + n @ cell`` are whole, [n_atoms, 3].

        None if they are whole as they are.
        """
        if lattice is None:
            return None
        found = self._continuity.shifts(positions, lattice)
        return found if found.any() else None

    def whole(self, positions: NDArray[np.float64], lattice: Lattice | None) -> NDArray[np.float64]:
        """Returns positions with molecules in one piece, [n_atoms, 3], Å."""
        found = self.images(positions, lattice)
        return (
            positions if found is None or lattice is None else positions + found @ lattice.vectors
        )

    def partition(
        self, positions: NDArray[np.float64], lattice: Lattice | None = None
    ) -> Partition:
        """Returns the fragments at some positions, [n_atoms, 3], Å, of whole molecules."""
        if self._last is None or not self._covers(positions, lattice):
            skin = self.skin if self.scheme.smooth else 0.0
            expansion = self.scheme.expand(self.cutter, positions, skin=skin, lattice=lattice)
            if self._last is not None and _same(self._last.expansion, expansion):
                expansion = self._last.expansion
                batch = self._last.batch
            else:
                fragments = [self.cutter.cut(units) for units in expansion.sets]
                assembly = FragmentMap(fragments, len(self.topology.atomic_numbers))
                batch = FragmentBatch(assembly, skin=self.pair_skin)
            weights = None
            if expansion.pairs is not None:
                weights = PairWeights(self.topology, expansion.pairs, positions, skin, lattice)
            self._last = Partition(expansion=expansion, batch=batch, weights=weights)
            self._where, self._lattice = positions.copy(), lattice
            self.n_lists += 1
        return self._last

    def _covers(self, positions: NDArray[np.float64], lattice: Lattice | None) -> bool:
        reach, old = self.scheme.reach, self._lattice
        if (lattice is None) != (old is None):
            return False
        if reach is None:
            return True
        before, skin = self._where, self.skin if self.scheme.smooth else 0.0
        assert before is not None
        if lattice is not None and old is not None:
            if not lattice.same_directions(old):
                return False
            if not np.array_equal(lattice.vectors, old.vectors):
                # strain moves atoms that are far from each other most, but not their neighbours
                deformation = old.deformation(lattice)
                stretch = np.abs(np.linalg.svd(deformation, compute_uv=False) - 1.0).max()
                before, skin = before @ deformation, skin - float(stretch) * (reach + skin)
        moved = positions - before
        furthest = float(np.einsum("ij,ij->i", moved, moved).max())
        if not self.scheme.smooth:
            return furthest == 0.0 and skin == 0.0
        return skin >= 0.0 and furthest <= (0.5 * skin) ** 2

    def broken_bonds(self, positions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Returns the bonds that are far too long, [n_broken, 2], in whole molecules."""
        bonds = self.topology.bonds
        vectors = positions[bonds[:, 0]] - positions[bonds[:, 1]]
        radii = RADII[self.topology.atomic_numbers]
        limit = BROKEN * (radii[bonds[:, 0]] + radii[bonds[:, 1]])
        return bonds[~(np.einsum("ij,ij->i", vectors, vectors) < limit**2)]

    def check_bonds(self, positions: NDArray[np.float64], *, where: str = "") -> None:
        """Checks that the structure still has the bonds that its fragments were made from.

        Args:
            positions: [n_atoms, 3], Å, of whole molecules.
            where: the structure among others of the molecule, for the message.

        Raises:
            GeometryError: a bond of a whole molecule is broken; the first three are named.
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
            if where:
                raise GeometryError(
                    f"{where}: bonds of the first frame, which the fragments are made from, are "
                    f"broken: {names}{more}. Give frames of one molecule with the same bonds; put "
                    "this one into a file of its own, or leave it out"
                )
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
