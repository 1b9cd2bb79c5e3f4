"""A structure cut into fragments by a scheme, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from tlpot.fragments import (
    Fragment,
    FragmentedStructure,
    Partition,
    Scheme,
    check_coverage,
    fragment_name,
)
from tlpot.topology import Lattice, Topology, residue_of

_NOTHING = 1e-12
"""A coefficient below this is rounding."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The fragments of one structure at its positions.

    Attributes:
        topology: of the structure.
        scheme: that lists the fragments.
        positions: [n_atoms, 3], Å, of whole molecules.
        lattice: of a periodic structure.
        fragments: those with a coefficient other than 0.
        coefficients: [n_fragments].
    """

    topology: Topology
    scheme: Scheme
    positions: NDArray[np.float64]
    fragments: tuple[Fragment, ...]
    coefficients: NDArray[np.float64]
    lattice: Lattice | None = None

    @classmethod
    def make(
        cls,
        topology: Topology,
        scheme: Scheme,
        positions: NDArray[np.float64],
        lattice: Lattice | None = None,
    ) -> Cut:
        """Cuts a structure, and checks that everything in it counts once.

        Raises:
            GeometryError: a bond is broken, or something does not add up.
        """
        prepared = FragmentedStructure(topology, scheme, skin=0.0)
        positions = prepared.whole(positions, lattice)
        prepared.check_bonds(positions)
        partition = prepared.partition(positions, lattice)
        check_coverage(prepared.cutter, partition.expansion)
        coefficients = used_coefficients(partition, positions, lattice)
        used = np.flatnonzero(coefficients)
        fragments = partition.batch.assembly.fragments
        return cls(
            topology=topology,
            scheme=scheme,
            positions=positions,
            fragments=tuple(fragments[k] for k in used),
            coefficients=coefficients[used],
            lattice=lattice,
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the fragments, [n_fragments]."""
        return tuple(fragment_name(self.topology, f.units) for f in self.fragments)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms of the fragments with their caps, [n_fragments]."""
        return np.array([len(f) for f in self.fragments], dtype=np.int64)

    @property
    def cost(self) -> float:
        """Atoms evaluated per atom of the structure."""
        return float(self.sizes.sum() / len(self.positions))

    @property
    def n_charged(self) -> int:
        """Number of fragments with a charge."""
        return sum(f.charge != 0 for f in self.fragments)

    @cached_property
    def coverage(self) -> NDArray[np.float64]:
        """Mean of Σ c [a and b in f] over atoms a, b of two residues, [n_residues, n_residues].

        1 where fragments have all of both residues together, 0 where they never meet.
        """
        from scipy import sparse

        topology = self.topology
        rows = np.concatenate([np.full(len(f.real), k) for k, f in enumerate(self.fragments)])
        columns = residue_of(topology)[np.concatenate([f.real for f in self.fragments])]
        shape = (len(self.fragments), len(topology.residues))
        counts = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
        together = (counts.T @ sparse.diags_array(self.coefficients) @ counts).toarray()
        sizes = np.bincount(residue_of(topology), minlength=shape[1])
        found: NDArray[np.float64] = together / np.maximum(np.outer(sizes, sizes), 1)
        return found


def used_coefficients(
    partition: Partition, positions: NDArray[np.float64], lattice: Lattice | None = None
) -> NDArray[np.float64]:
    """Returns the coefficients at some positions, [n_fragments], rounding set to 0."""
    cell = None if lattice is None else torch.from_numpy(lattice.vectors)
    where = torch.from_numpy(positions)
    found: NDArray[np.float64] = partition.coefficients(where, cell).numpy().copy()
    found[np.abs(found) < _NOTHING] = 0.0
    return found
