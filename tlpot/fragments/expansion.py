"""A signed list of fragments, with pair terms that fade as fragments part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlpot.fragments.fragment import Units


@dataclass(frozen=True, kw_only=True)
class PairTerms:
    """Terms sign · w · [E(union) − E(left) − E(right) + E(meet)] of pairs of fragments.

    Attributes:
        sign: [n_pairs].
        union: [n_pairs], index of a fragment.
        left: [n_pairs], index of a fragment.
        right: [n_pairs], index of a fragment.
        meet: [n_pairs], index of a fragment, or -1 where nothing is in common.
        first: [n_pairs] sets of units, all at home, whose distance from `second` decides the
            weight w.
        second: [n_pairs] sets of units, all of one periodic image.
        inner: Å; w is 1 as soon as two atoms of both are closer.
        outer: Å; w is 0 when no two atoms are closer.
    """

    sign: NDArray[np.float64]
    union: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    meet: NDArray[np.int64]
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
    base: NDArray[np.float64]
    pairs: PairTerms | None = None

    @classmethod
    def fixed(cls, coefficients: Mapping[Units, int]) -> Expansion:
        """An expansion without pair terms."""
        return cls(
            sets=tuple(coefficients), base=np.array(list(coefficients.values()), dtype=np.float64)
        )

    def coefficients(self, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Returns the coefficient of each set for given weights of the pairs, [n_sets]."""
        found = self.base.copy()
        if self.pairs is not None:
            terms = self.pairs
            strength = terms.sign * (np.ones(len(terms)) if weights is None else weights)
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
        self._pairs: list[tuple[float, int, int, int, int]] = []
        self._near: list[tuple[Units, Units]] = []

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
        """
        if near is None:
            for units, c in ((union, sign), (left, -sign), (right, -sign), (meet, sign)):
                self.add(units, c)
            return
        common = self._of(meet) if meet else -1
        self._pairs.append((sign, self._of(union), self._of(left), self._of(right), common))
        self._near.append(near)

    def expansion(self, inner: float, outer: float) -> Expansion:
        """Returns what was gathered, without sets that cancel altogether."""
        sets = tuple(self._index)
        base = np.array(self._base)
        used = base != 0.0
        table = np.array(self._pairs, dtype=np.float64).reshape(-1, 5)
        indices = table[:, 1:].astype(np.int64)
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
