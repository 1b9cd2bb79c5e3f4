"""Where each frame is: its section, its slab, its size and its molecule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from numpy.typing import NDArray

from tlpot.data.decode import Decoder
from tlpot.data.store import Store
from tlpot.errors import DataError

SLAB_BYTES = 1 << 18
"""Positions read at a time: enough to amortise a read, little enough to waste none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameIndex:
    """The frames of a store, in file order. A slab is some consecutive rows of one section.

    Attributes:
        starts: [n_sections], number of each section's first frame.
        n_rows: [n_sections], frames in each section.
        slab_rows: [n_sections], frames in a slab.
        sizes: [n_frames], atoms.
        group_idx: [n_frames], molecule.
        group_names: names of the molecules.
        elements: atomic numbers that occur, ascending.
    """

    starts: NDArray[np.int64]
    n_rows: NDArray[np.int64]
    slab_rows: NDArray[np.int64]
    sizes: NDArray[np.int64]
    group_idx: NDArray[np.int64]
    group_names: Sequence[str]
    elements: tuple[int, ...]

    def locate(
        self, indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Returns for each frame its section, its slab, and its row within the slab."""
        sections = np.searchsorted(self.starts, indices, side="right") - 1
        rows = indices - self.starts[sections]
        slab_rows = self.slab_rows[sections]
        return sections, rows // slab_rows, rows % slab_rows

    def rows(self, section: int, slab: int) -> slice:
        """Returns the rows of a section that make up a slab."""
        first = slab * int(self.slab_rows[section])
        return slice(first, min(first + int(self.slab_rows[section]), int(self.n_rows[section])))

    def slabs(self) -> Iterator[tuple[int, int, slice, slice]]:
        """Yields section, slab, the rows of the section, and the frames of the dataset."""
        for section, (start, n_rows) in enumerate(zip(self.starts, self.n_rows, strict=True)):
            for slab in range(-(-int(n_rows) // int(self.slab_rows[section]))):
                rows = self.rows(section, slab)
                yield section, slab, rows, slice(start + rows.start, start + rows.stop)


def build_index(store: Store, decoder: Decoder) -> FrameIndex:
    """Reads the sizes and the elements of a store and names its molecules.

    A molecule is what the layout says it is (an HDF5 group), or else all frames with the same
    formula, so that a split by molecule never separates two orders of the same atoms.

    Raises:
        DataError: a frame has no atoms.
    """
    names: dict[str, int] = {}
    sizes, groups, n_rows, slab_rows = [], [], [], []
    elements: set[int] = set()
    for k, section in enumerate(store.sections):
        m = decoder.n_rows(k)
        numbers = decoder.numbers(k)
        unique, inverse = _compositions(numbers, m)
        elements |= set(np.unique(unique).tolist()) - {0}
        counts = (unique > 0).sum(axis=1)
        if m and (counts == 0).any():
            raise DataError(f"{section.label} has frames without atoms")
        ids = []
        for row in unique if m else ():  # a molecule without frames is none
            name = _formula(row) if section.group is None or numbers.ndim == 2 else section.group
            ids.append(names.setdefault(name, len(names)))
        n_rows.append(m)
        slab_rows.append(max(1, SLAB_BYTES // max(24 * numbers.shape[-1], 1)))
        sizes.append(counts[inverse])
        groups.append(np.array(ids, dtype=np.int64)[inverse])
    rows = np.array(n_rows, dtype=np.int64)
    empty = [np.zeros(0, dtype=np.int64)]
    return FrameIndex(
        starts=np.cumsum(rows) - rows,
        n_rows=rows,
        slab_rows=np.array(slab_rows, dtype=np.int64),
        sizes=np.concatenate(sizes or empty).astype(np.int64),
        group_idx=np.concatenate(groups or empty),
        group_names=tuple(names),
        elements=tuple(sorted(elements)),
    )


def _compositions(
    numbers: NDArray[np.int64], n_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the distinct compositions [n, n_atoms] and which of them each row has."""
    if numbers.ndim == 1 or (n_rows and (numbers == numbers[0]).all()):
        one = numbers if numbers.ndim == 1 else numbers[0]
        return one[None], np.zeros(n_rows, dtype=np.int64)
    unique, inverse = np.unique(np.sort(numbers, axis=1), axis=0, return_inverse=True)
    return unique, inverse.reshape(-1)


def _formula(numbers: NDArray[np.int64]) -> str:
    z, counts = np.unique(numbers[numbers > 0], return_counts=True)
    symbols = {chemical_symbols[k]: int(n) for k, n in zip(z, counts, strict=True)}
    return Formula.from_dict(symbols).format("hill")
