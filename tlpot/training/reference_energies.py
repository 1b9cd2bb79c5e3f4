"""Reference energies of the elements from energies of molecules, as far as they can be known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.errors import DataError

_RANK_TOLERANCE = 1e-8


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceFit:
    """Shifts of the reference energies that explain residuals best.

    Attributes:
        elements: atomic numbers.
        shifts: [n_elements], eV; 0 for an element that does not occur.
        identified: [n_elements], whether the shift of the element alone can be known.
        uncertainties: [n_elements], eV, standard errors; NaN for what is not identified, and for
            all where there are no more frames than combinations: nothing is left to tell an
            error from.
        absent: elements that occur in no frame.
        rank: number of independent combinations that the compositions fix.
        before: mean absolute residual without the shifts, eV.
        after: with them, eV.
        after_per_atom: with them, over the number of atoms of the frame, eV.
    """

    elements: tuple[int, ...]
    shifts: NDArray[np.float64]
    identified: NDArray[np.bool_]
    uncertainties: NDArray[np.float64]
    absent: tuple[int, ...]
    rank: int
    before: float
    after: float
    after_per_atom: float

    @property
    def caution(self) -> str:
        """What the data cannot tell; empty if every shift and its error is known."""
        sentences = []
        entangled = [
            chemical_symbols[z]
            for z, known in zip(self.elements, self.identified, strict=True)
            if not known and z not in self.absent
        ]
        if entangled:
            what = "one combination" if self.rank == 1 else f"{self.rank} combinations"
            n_present = len(self.elements) - len(self.absent)
            sentences.append(
                f"the compositions fix only {what} of {n_present} reference energies: "
                f"{', '.join(entangled)} cannot be told apart. Totals for these compositions are "
                "right; energies of other compositions, and of free atoms, are not to be trusted"
            )
        if np.isnan(self.uncertainties[self.identified]).any():
            sentences.append(
                "there are only as many training frames as combinations of reference energies "
                f"that they fix ({self.rank}): these fit by necessity, and their error is unknown"
            )
        if self.absent:
            names = ", ".join(chemical_symbols[z] for z in self.absent)
            sentences.append(f"no training frame has {names}, left as before")
        return ". ".join(sentences)


def fit_references(
    elements: Sequence[int],
    composition: NDArray[np.float64],
    residuals: NDArray[np.float64],
) -> ReferenceFit:
    """Solves composition · shifts ≈ residuals with the smallest shifts that do.

    Where the compositions do not fix every element (a single molecule, isomers, as many elements
    as molecules), the shifts are those that are smallest in units of Z^(7/3), which energies of
    atoms go by (Thomas and Fermi; Lieb and Simon, doi:10.1016/0001-8708(77)90108-6). Hydrogen then
    is not moved by as much as sulfur, and other compositions are wrong by electronvolts where
    equal units make it thousands.

    Args:
        elements: atomic numbers, the columns of `composition`.
        composition: [n_frames, n_elements], atoms of each element.
        residuals: [n_frames], label − prediction, eV.

    Raises:
        DataError: no frames, or a residual is NaN.
    """
    if not len(residuals):
        raise DataError("no energies to fit the reference energies to")
    if not np.isfinite(residuals).all():
        raise DataError("an energy used for fitting the reference energies is NaN or infinite")
    present = composition.any(axis=0)
    used = composition[:, present]
    _, singular, rows = np.linalg.svd(used, full_matrices=False)
    keep = singular > _RANK_TOLERANCE * singular.max(initial=1.0)
    rank = int(keep.sum())
    inverse = (rows[keep].T / singular[keep] ** 2) @ rows[keep]
    shifts = np.zeros(len(elements))
    if rank == present.sum():
        shifts[present] = inverse @ used.T @ residuals
    else:
        size = np.array(elements, dtype=np.float64)[present] ** (7 / 3)
        left, scaled, right = np.linalg.svd(used * size, full_matrices=False)
        along = (left[:, :rank].T @ residuals) / scaled[:rank]
        shifts[present] = size * (right[:rank].T @ along)
    rest = residuals - composition @ shifts
    n_left = len(residuals) - rank
    variance = float(rest @ rest) / n_left if n_left else np.nan
    identified = np.zeros(len(elements), dtype=np.bool_)
    identified[present] = np.isclose(np.einsum("ij,ij->j", rows[keep], rows[keep]), 1.0, atol=1e-6)
    uncertainties = np.full(len(elements), np.nan)
    uncertainties[present] = np.sqrt(variance * np.diag(inverse))
    uncertainties[~identified] = np.nan
    return ReferenceFit(
        elements=tuple(elements),
        shifts=shifts,
        identified=identified,
        uncertainties=uncertainties,
        absent=tuple(z for k, z in enumerate(elements) if not composition[:, k].any()),
        rank=rank,
        before=float(np.abs(residuals).mean()),
        after=float(np.abs(rest).mean()),
        after_per_atom=float((np.abs(rest) / composition.sum(axis=1)).mean()),
    )
