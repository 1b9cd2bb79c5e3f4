"""The constant linear map from a structure to its fragments: X_frag = P X + S cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tlpot.fragments.fragment import Fragment

if TYPE_CHECKING:
    from scipy import sparse


class FragmentMap:
    """All fragments of a structure, one after the other, as one batch of atoms.

    P has one entry of 1 in the row of a real atom, and 1 − g at the host and g at the atom
    that is gone in the row of a cap. Its rows sum to 1, so neither net force nor torque arise.
    S holds the periodic images of the rows in whole numbers, so strain commutes with the map.

    Args:
        fragments: at least one.
        n_atoms: of the structure.

    Attributes:
        fragments: as given.
        n_atoms: of the structure.
        atomic_numbers: [n_rows], int64.
        fragment_idx: [n_rows], int64, non-decreasing.
        host: [n_rows], the atom of the structure that a row belongs to: itself, or the atom
            that a cap is bound to.
        replaced: [n_rows], the atom that a cap replaces; the atom itself for real atoms.
        ratio: [n_rows], g; 0 for real atoms.
        is_cap: [n_rows], bool.
        shifts: [n_rows, 3], S; None if all fragments are at home.
        charge: [n_fragments], e.
        sizes: [n_fragments].
    """

    def __init__(self, fragments: Sequence[Fragment], n_atoms: int) -> None:
        self.fragments, self.n_atoms = tuple(fragments), n_atoms
        host = np.concatenate([np.concatenate([f.real, f.host]) for f in fragments])
        replaced = np.concatenate([np.concatenate([f.real, f.replaced]) for f in fragments])
        ratio = np.concatenate([np.append(np.zeros(len(f.real)), f.ratio) for f in fragments])
        cap = np.concatenate([np.arange(len(f)) >= len(f.real) for f in fragments])
        self.sizes = np.array([len(f) for f in fragments], dtype=np.int64)
        numbers = np.concatenate([f.atomic_numbers for f in fragments])
        self.atomic_numbers = torch.from_numpy(numbers)
        self.fragment_idx = torch.from_numpy(np.repeat(np.arange(len(fragments)), self.sizes))
        self.host, self.replaced = torch.from_numpy(host), torch.from_numpy(replaced)
        self.ratio, self.is_cap = torch.from_numpy(ratio), torch.from_numpy(cap)
        self.shifts: Tensor | None = None
        if any(f.shifts is not None for f in fragments):
            none = np.zeros((0, 3))
            images = [np.zeros((len(f), 3)) if f.shifts is None else f.shifts for f in fragments]
            self.shifts = torch.from_numpy(np.concatenate([none, *images]))
        self.charge = torch.tensor([f.charge for f in fragments], dtype=torch.int64)

    @property
    def n_rows(self) -> int:
        """Number of atoms in all fragments."""
        return len(self.atomic_numbers)

    def positions(self, whole: Tensor, cell: Tensor | None = None) -> Tensor:
        """Returns P X + S cell, [n_rows, 3], differentiable.

        Args:
            whole: X, [n_atoms, 3], Å, of whole molecules.
            cell: [3, 3], Å; None in vacuum.
        """
        device = whole.device
        found = whole.index_select(0, self.host.to(device))
        rows = self.is_cap.nonzero()[:, 0].to(device)
        away = whole.index_select(0, self.replaced.to(device)[rows]) - found.index_select(0, rows)
        found = found.index_add(0, rows, self.ratio.to(device)[rows][:, None] * away)
        if self.shifts is None or cell is None:
            return found
        return found + self.shifts.to(device) @ cell

    def matrix(self) -> sparse.csr_array:
        """Returns P, [n_rows, n_atoms]."""
        from scipy import sparse

        rows = np.arange(self.n_rows)
        cap = self.is_cap.numpy()
        host, replaced, ratio = self.host.numpy(), self.replaced.numpy(), self.ratio.numpy()
        return sparse.coo_array(
            (
                np.concatenate([1.0 - ratio, ratio[cap]]),
                (np.concatenate([rows, rows[cap]]), np.concatenate([host, replaced[cap]])),
            ),
            shape=(self.n_rows, self.n_atoms),
        ).tocsr()

    def collect(self, rows: Tensor) -> Tensor:
        """Sums what rows have onto the atoms that they belong to: [n_rows] to [n_atoms]."""
        return rows.new_zeros(self.n_atoms).index_add(0, self.host.to(rows.device), rows)
