"""Neighbour pairs in rectangular blocks, so that a sum over neighbours is a matrix product."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST_BLOCKS = 3
"""More of them save no pairs worth the products."""

PAIRS_IN_BLOCK = 512
"""Fewer pairs than this are not worth a matrix product of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """Atoms of similar numbers of neighbours together, each with the same number of slots.

    Attributes:
        sizes: (atoms, slots of each) of every block, in the order of the pairs.
        place: [n_atoms], where an atom comes among the blocks; None if they hold the atoms in
            their own order.
    """

    sizes: tuple[tuple[int, int], ...]
    place: Tensor | None

    @property
    def n_slots(self) -> int:
        """Number of slots in all blocks together."""
        return sum(n_atoms * slots for n_atoms, slots in self.sizes)

    def to(self, device: torch.device | str) -> Blocks:
        """Returns the same on another device."""
        return self if self.place is None else replace(self, place=self.place.to(device))


@dataclass(frozen=True, kw_only=True, slots=True)
class Slots:
    """Where each pair goes in the blocks, as arrays.

    Attributes:
        blocks: their shapes.
        center: [n_slots], the atom that a slot belongs to.
        of_pair: [n_pairs], the slot of each pair.
    """

    blocks: Blocks
    center: NDArray[np.int64]
    of_pair: NDArray[np.int64]


def make_slots(center: NDArray[np.int64], n_atoms: int) -> Slots:
    """Gives each pair a slot.

    Large batches get several blocks, cut at quantiles of the number of neighbours: in organic
    molecules much of a single block would be empty.

    Args:
        center: [n_pairs], ascending.
        n_atoms: number of atoms; one without pairs has a slot nevertheless.
    """
    counts = np.bincount(center, minlength=n_atoms)
    n_blocks = min(MOST_BLOCKS, 1 + len(center) // PAIRS_IN_BLOCK)
    quantiles = -(-np.arange(1, n_blocks + 1) * n_atoms // n_blocks) - 1
    widths = np.unique(np.maximum(np.sort(counts)[quantiles], 1))
    block = np.searchsorted(widths, counts)
    order = np.argsort(block, kind="stable")
    slots = widths[block]
    begin = np.empty(n_atoms, dtype=np.int64)
    begin[order] = np.cumsum(slots[order]) - slots[order]
    first = np.cumsum(counts) - counts
    place = None
    if len(widths) > 1:
        place = torch.empty(n_atoms, dtype=torch.int64)
        place[torch.from_numpy(order)] = torch.arange(n_atoms)
    members = np.bincount(block, minlength=len(widths))
    return Slots(
        blocks=Blocks(
            sizes=tuple(zip(members.tolist(), widths.tolist(), strict=True)), place=place
        ),
        center=np.repeat(order, slots[order]),
        of_pair=begin[center] + np.arange(len(center)) - first[center],
    )
