"""How pairs of fragments fade in and out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from tlpot.fragments.contacts import after_home, close_atoms, close_images
from tlpot.fragments.expansion import PairTerms
from tlpot.fragments.image import Images, Shift, opposite
from tlpot.fragments.lattice import Lattice
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
        lattice: of a periodic structure, in which molecules are whole; None in vacuum.
    """

    def __init__(
        self,
        topology: Topology,
        terms: PairTerms,
        positions: NDArray[np.float64],
        skin: float,
        lattice: Lattice | None = None,
    ) -> None:
        self.inner, self.outer = terms.inner, terms.outer
        n_units = len(topology.units)
        shifts: NDArray[np.int64] | None = None
        if lattice is None:
            atoms = close_atoms(positions, self.outer + skin)
        else:
            atoms, shifts = close_images(positions, self.outer + skin, lattice)
        units = topology.unit_of[atoms]
        apart = units[:, 0] != units[:, 1]
        if shifts is not None:
            apart |= shifts.any(axis=1)
            shifts = shifts[apart]
        atoms, units = atoms[apart], units[apart]
        keys, where = _unit_pairs(units, shifts, n_units)
        self._atoms = torch.from_numpy(atoms)
        self._shifts = None
        if shifts is not None and shifts.any():
            self._shifts = torch.from_numpy(shifts.astype(np.float64))
        self._unit_pair = torch.from_numpy(where)
        self._n_unit_pairs = len(keys)
        incidence = _incidence(terms, keys, n_units)
        self._term = torch.from_numpy(incidence[0])
        self._member = torch.from_numpy(incidence[1])
        self._n_terms = len(terms)

    def __call__(self, positions: Tensor, cell: Tensor | None = None) -> Tensor:
        """Returns w of each pair term, [n_pairs], float64, differentiable.

        Args:
            positions: [n_atoms, 3], Å, of whole molecules.
            cell: [3, 3], Å; None in vacuum.
        """
        device = positions.device
        i, j = self._atoms[:, 0].to(device), self._atoms[:, 1].to(device)
        vectors = positions.index_select(0, j) - positions.index_select(0, i)
        if self._shifts is not None and cell is not None:
            vectors = vectors + self._shifts.to(device) @ cell
        distance = torch.linalg.vector_norm(vectors, dim=1)
        apart = torch.log((1.0 - fade(distance, self.inner, self.outer)).clamp_min(_LEAST))
        by_units = apart.new_zeros(self._n_unit_pairs)
        by_units = by_units.index_add(0, self._unit_pair.to(device), apart)
        by_term = apart.new_zeros(self._n_terms)
        by_term = by_term.index_add(
            0, self._term.to(device), by_units.index_select(0, self._member.to(device))
        )
        return -torch.expm1(by_term)


def _unit_pairs(
    units: NDArray[np.int64], shifts: NDArray[np.int64] | None, n_units: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the distinct pairs of units and, for each pair given, which of these it is.

    Returns:
        [n, 2] or, with the image of the second unit, [n, 5]; and [n_pairs].
    """
    if shifts is None:
        pairs = np.sort(units, axis=1)
        code, where = np.unique(pairs[:, 0] * n_units + pairs[:, 1], return_inverse=True)
        return np.stack([code // n_units, code % n_units], axis=1), where
    turn = (units[:, 0] > units[:, 1]) | ((units[:, 0] == units[:, 1]) & ~after_home(shifts))
    keys = np.concatenate(
        [
            np.where(turn[:, None], units[:, ::-1], units),
            np.where(turn[:, None], -shifts, shifts),
        ],
        axis=1,
    )
    found, where = np.unique(keys, axis=0, return_inverse=True)
    return found, where.reshape(-1)


def _incidence(
    terms: PairTerms, keys: NDArray[np.int64], n_units: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which unit pairs belong to which pair term, as two index arrays."""
    images, tables = Images(n_units), _tables(keys, n_units)
    rows, members = [], []
    for k, (first, second) in enumerate(zip(terms.first, terms.second, strict=True)):
        ((shift, own),) = images.split(second).items()
        if shift in tables:
            found = tables[shift][sorted(first), :][:, sorted(own)].data
            rows.append(np.full(len(found), k, dtype=np.int64))
            members.append(found.astype(np.int64) - 1)
    none = np.zeros(0, dtype=np.int64)
    return np.concatenate([none, *rows]), np.concatenate([none, *members])


def _tables(keys: NDArray[np.int64], n_units: int) -> dict[Shift, sparse.csr_array]:
    """Returns 1 + the number of the pair of units u and v + n, [n_units, n_units], for each n."""
    if not len(keys):
        return {}
    number = np.arange(1, len(keys) + 1)
    u, v = keys[:, 0], keys[:, 1]
    shifts = keys[:, 2:] if keys.shape[1] == 5 else np.zeros((len(keys), 3), dtype=np.int64)
    distinct, which = np.unique(shifts, axis=0, return_inverse=True)
    order = np.argsort(which.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(which.reshape(-1), minlength=len(distinct)))
    entries: dict[Shift, list[NDArray[np.int64]]] = {}
    for (x, y, z), rows in zip(distinct.tolist(), np.split(order, ends[:-1]), strict=True):
        there = np.stack([number[rows], u[rows], v[rows]])
        entries.setdefault((x, y, z), []).append(there)
        entries.setdefault(opposite((x, y, z)), []).append(there[[0, 2, 1]])
    tables = {}
    for shift, parts in entries.items():
        data, rows, columns = np.concatenate(parts, axis=1)
        tables[shift] = sparse.coo_array((data, (rows, columns)), shape=(n_units, n_units)).tocsr()
    return tables
