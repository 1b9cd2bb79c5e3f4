"""How pairs of fragments fade in and out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from tlpot.fragments.contacts import close_atoms
from tlpot.fragments.expansion import PairTerms
from tlpot.fragments.topology import Topology

_LEAST = 1e-60
"""Keeps logarithms finite; a pair of fragments with a factor this small has w = 1."""


def fade(distance: Tensor, inner: float, outer: float) -> Tensor:
    """Returns φ(r): 1 up to `inner`, 0 from `outer` on, with continuous second derivatives.

    φ = 1 − x³ (10 − 15 x + 6 x²) with x = (r − inner) / (outer − inner); a step at `outer`
    where the two are equal.
    """
    if inner == outer:
        return (distance < outer).to(distance.dtype)
    x = ((distance - inner) / (outer - inner)).clamp(0.0, 1.0)
    return 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


class PairWeights:
    """The weights w = 1 − Π (1 − φ(r)) of pair terms, over the pairs of atoms of both fragments.

    The product is taken over pairs of units first, which many pairs of fragments share.

    Args:
        topology: of the structure.
        terms: the pair terms.
        positions: [n_atoms, 3], Å; pairs of atoms that are within ``terms.outer`` + `skin`.
        skin: Å.
    """

    def __init__(
        self,
        topology: Topology,
        terms: PairTerms,
        positions: NDArray[np.float64],
        skin: float,
    ) -> None:
        self.inner, self.outer = terms.inner, terms.outer
        n_units = len(topology.units)
        atoms = close_atoms(positions, self.outer + skin)
        units = np.sort(topology.unit_of[atoms], axis=1)
        apart = units[:, 0] != units[:, 1]
        atoms, units = atoms[apart], units[apart]
        code, where = np.unique(units[:, 0] * n_units + units[:, 1], return_inverse=True)
        self._atoms = torch.from_numpy(atoms)
        self._unit_pair = torch.from_numpy(where)
        self._n_unit_pairs = len(code)
        incidence = _incidence(terms, code, n_units)
        self._term = torch.from_numpy(incidence[0])
        self._member = torch.from_numpy(incidence[1])
        self._n_terms = len(terms)

    def __call__(self, positions: Tensor) -> Tensor:
        """Returns w of each pair term, [n_pairs], float64, differentiable in `positions`."""
        device = positions.device
        i, j = self._atoms[:, 0].to(device), self._atoms[:, 1].to(device)
        vectors = positions.index_select(0, j) - positions.index_select(0, i)
        distance = torch.linalg.vector_norm(vectors, dim=1)
        apart = torch.log((1.0 - fade(distance, self.inner, self.outer)).clamp_min(_LEAST))
        by_units = apart.new_zeros(self._n_unit_pairs)
        by_units = by_units.index_add(0, self._unit_pair.to(device), apart)
        by_term = apart.new_zeros(self._n_terms)
        by_term = by_term.index_add(
            0, self._term.to(device), by_units.index_select(0, self._member.to(device))
        )
        return -torch.expm1(by_term)


def _incidence(
    terms: PairTerms, code: NDArray[np.int64], n_units: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which unit pairs belong to which pair term, as two index arrays."""
    place = sparse.coo_array(
        (np.arange(1, len(code) + 1), (code // n_units, code % n_units)), shape=(n_units, n_units)
    )
    table = (place + place.T).tocsr()
    rows, members = [], []
    for k, (first, second) in enumerate(zip(terms.first, terms.second, strict=True)):
        found = table[sorted(first), :][:, sorted(second)].data
        rows.append(np.full(len(found), k, dtype=np.int64))
        members.append(found.astype(np.int64) - 1)
    none = np.zeros(0, dtype=np.int64)
    return np.concatenate([none, *rows]), np.concatenate([none, *members])
