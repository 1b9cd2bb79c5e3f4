"""A signed list of fragments, and how pairs of them fade in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tlpot.fragments.contacts import Images, after_home, close_atoms, close_images
from tlpot.fragments.fragment import Units
from tlpot.numbers import Floats, Ints
from tlpot.topology import Lattice, Topology

_LEAST = 1e-60
"""Keeps logarithms finite; a pair of fragments with a factor this small has w = 1."""


@dataclass(frozen=True, kw_only=True)
class PairTerms:
    """Terms sign · w · [E(union) − E(left) − E(right) + E(meet)] of pairs of fragments.

    Attributes:
        sign: [n_pairs].
        union: [n_pairs], index of a fragment.
        left: [n_pairs], index of a fragment.
        right: [n_pairs], index of a fragment.
        meet: [n_pairs], index of a fragment, or -1 where nothing is in common.
        weight: [n_pairs], which of the weights w is that of the term.
        first: [n_weights] sets of units, all at home, whose distance from `second` decides the
            weight.
        second: [n_weights] sets of units, all of one periodic image.
        inner: Å; w is 1 as soon as two atoms of both are closer.
        outer: Å; w is 0 when no two atoms are closer.
    """

    sign: Floats
    union: Ints
    left: Ints
    right: Ints
    meet: Ints
    weight: Ints
    first: tuple[Units, ...]
    second: tuple[Units, ...]
    inner: float
    outer: float

    def __len__(self) -> int:
        return len(self.sign)


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """E = Σ c E(fragment), where c is a whole number plus the weights of the pair terms.

    Attributes:
        sets: the distinct fragments.
        base: [n_sets], the whole number.
        pairs: None when no coefficient depends on the positions.
    """

    sets: tuple[Units, ...]
    base: Floats
    pairs: PairTerms | None = None

    @classmethod
    def fixed(cls, coefficients: Mapping[Units, int]) -> Expansion:
        """An expansion without pair terms."""
        return cls(
            sets=tuple(coefficients), base=np.array(list(coefficients.values()), dtype=np.float64)
        )

    def coefficients(self, weights: Floats | None = None) -> Floats:
        """Returns the coefficient of each set for given weights, [n_weights] to [n_sets]."""
        found = self.base.copy()
        if self.pairs is not None:
            terms = self.pairs
            strength = terms.sign * (1.0 if weights is None else weights[terms.weight])
            np.add.at(found, terms.union, strength)
            np.add.at(found, terms.left, -strength)
            np.add.at(found, terms.right, -strength)
            some = terms.meet >= 0
            np.add.at(found, terms.meet[some], strength[some])
        return found


class Collector:
    """Gathers terms of an expansion; each distinct set is kept once.

    Args:
        canonical: gives the same set for all periodic images of a set.
    """

    def __init__(self, canonical: Callable[[Units], Units]) -> None:
        self._canonical = canonical
        self._index: dict[Units, int] = {}
        self._base: list[float] = []
        self._pairs: list[tuple[float, int, int, int, int, int]] = []
        self._near: dict[tuple[Units, Units], int] = {}

    def add(self, units: Units, coefficient: float) -> None:
        """Adds a fragment to the sum."""
        if units:
            self._base[self._of(units)] += coefficient

    def add_pair(
        self,
        sign: float,
        union: Units,
        left: Units,
        right: Units,
        meet: Units,
        near: tuple[Units, Units] | None,
    ) -> None:
        """Adds a pair term; with `near` None its weight is 1 wherever the atoms are.

        The four sets are taken for any of their periodic images, those of `near` for themselves.
        Terms of the same two sets `near` have one weight.
        """
        if near is None:
            for units, c in ((union, sign), (left, -sign), (right, -sign), (meet, sign)):
                self.add(units, c)
            return
        common = self._of(meet) if meet else -1
        weight = self._near.setdefault(near, len(self._near))
        self._pairs.append((sign, self._of(union), self._of(left), self._of(right), common, weight))

    def expansion(self, inner: float, outer: float) -> Expansion:
        """Returns what was gathered, without sets that cancel altogether."""
        sets = tuple(self._index)
        base = np.array(self._base)
        used = base != 0.0
        table = np.array(self._pairs, dtype=np.float64).reshape(-1, 6)
        indices = table[:, 1:5].astype(np.int64)
        used[indices[indices >= 0]] = True
        new = np.append(np.cumsum(used) - 1, -1)  # -1 stays -1
        pairs = None
        if len(table):
            pairs = PairTerms(
                sign=table[:, 0],
                union=new[indices[:, 0]],
                left=new[indices[:, 1]],
                right=new[indices[:, 2]],
                meet=new[indices[:, 3]],
                weight=table[:, 5].astype(np.int64),
                first=tuple(a for a, _ in self._near),
                second=tuple(b for _, b in self._near),
                inner=inner,
                outer=outer,
            )
        kept = np.flatnonzero(used)
        return Expansion(sets=tuple(sets[i] for i in kept), base=base[kept], pairs=pairs)

    def _of(self, units: Units) -> int:
        index = self._index.setdefault(self._canonical(units), len(self._base))
        if index == len(self._base):
            self._base.append(0.0)
        return index


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
        positions: Floats,
        skin: float,
        lattice: Lattice | None = None,
    ) -> None:
        self.inner, self.outer = terms.inner, terms.outer
        n_units = len(topology.units)
        shifts: Ints | None = None
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
        self._n_weights = len(terms.first)

    def __call__(self, positions: Tensor, cell: Tensor | None = None) -> Tensor:
        """Returns the weights w, [n_weights], float64, differentiable.

        Positions are those of whole molecules, [n_atoms, 3], Å; the cell is [3, 3], Å, None in
        vacuum.
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
        by_term = apart.new_zeros(self._n_weights)
        by_term = by_term.index_add(
            0, self._term.to(device), by_units.index_select(0, self._member.to(device))
        )
        return -torch.expm1(by_term)


def _unit_pairs(units: Ints, shifts: Ints | None, n_units: int) -> tuple[Ints, Ints]:
    """Returns the distinct pairs of units and, for each pair given, which of these it is.

    Returns:
        [n, 2] or, with the image of the second unit, [n, 5]; and [n_pairs].
    """
    if shifts is None:
        pairs = np.sort(units, axis=1)
        code, where = np.unique(pairs[:, 0] * n_units + pairs[:, 1], return_inverse=True)
        return np.stack([code // n_units, code % n_units], axis=1), where
    keys = np.concatenate(_ordered(units, shifts), axis=1)
    found, where = np.unique(keys, axis=0, return_inverse=True)
    return found, where.reshape(-1)


def _incidence(terms: PairTerms, keys: Ints, n_units: int) -> tuple[Ints, Ints]:
    """Which unit pairs belong to which weight, as two index arrays."""
    none = np.zeros(0, dtype=np.int64)
    if not len(keys) or not terms.first:
        return none, none
    images = Images(n_units)
    parts = [next(iter(images.split(second).items())) for second in terms.second]
    first, second = [sorted(s) for s in terms.first], [sorted(s) for _, s in parts]
    n_first, n_second = (np.array([len(s) for s in x], dtype=np.int64) for x in (first, second))
    counts = n_first * n_second
    term = np.repeat(np.arange(len(counts)), counts)
    inner = np.arange(len(term)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.cumsum(n_first) - n_first, np.cumsum(n_second) - n_second
    units = np.stack(
        [
            np.concatenate(first)[starts[0][term] + inner // n_second[term]],
            np.concatenate(second)[starts[1][term] + inner % n_second[term]],
        ],
        axis=1,
    )
    shifts = np.array([shift for shift, _ in parts], dtype=np.int64)
    known = keys[:, 2:] if keys.shape[1] == 5 else np.zeros((len(keys), 3), dtype=np.int64)
    units, shifts = _ordered(units, shifts[term])
    # one number for each key, ascending as the keys are
    distinct, rank = np.unique(np.concatenate([known, shifts]), axis=0, return_inverse=True)
    pairs = np.concatenate([keys[:, :2], units])
    code = (pairs[:, 0] * n_units + pairs[:, 1]) * len(distinct) + rank.reshape(-1)
    code, wanted = code[: len(keys)], code[len(keys) :]
    place = np.searchsorted(code, wanted).clip(max=len(code) - 1)
    found = code[place] == wanted
    return term[found], place[found]


def _ordered(units: Ints, shifts: Ints) -> tuple[Ints, Ints]:
    """Writes pairs of units, the second in another image, in the one of two ways."""
    equal = units[:, 0] == units[:, 1]
    turn = (units[:, 0] > units[:, 1]) | (equal & ~after_home(shifts))
    turn = turn[:, None]
    return np.where(turn, units[:, ::-1], units), np.where(turn, -shifts, shifts)
