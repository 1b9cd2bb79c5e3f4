"""What the composition alone says: reference energies of the elements, and of a property.

Both are linear in the numbers of atoms, or their fractions. A network starts from them, and every
model must beat them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from tlpot.errors import DataError
from tlpot.numbers import Bools, Floats

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
    shifts: Floats
    identified: Bools
    uncertainties: Floats
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
    composition: Floats,
    residuals: Floats,
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


_GRID = np.logspace(-6, 4, 21)
"""Strengths that are tried, in units of a whole structure of one element."""
_FOLDS = 5
_NEWTON = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class CompositionFit:
    """Coefficients of the elements.

    Attributes:
        shifts: [n_elements]; the mean for an element that does not occur.
        strength: of the ridge, chosen by leaving out folds.
        before: mean absolute residual without the shifts.
        after: with them, on the same structures.
    """

    shifts: Floats
    strength: float
    before: float
    after: float


def fit_composition(
    composition: Floats,
    residuals: Floats,
    *,
    seed: int = 0,
) -> CompositionFit:
    """Fits residuals ≈ composition · shifts; the shifts are drawn towards their mean.

    Ridge regression (Hoerl and Kennard, doi:10.1080/00401706.1970.10488634) about a constant: the
    same for every atom. The strength is the best of a grid on five folds that were left out.

    Args:
        composition: [n, n_elements], fractions of the elements, or numbers of atoms where the
            property is extensive.
        residuals: [n].
        seed: of the folds.

    Raises:
        DataError: there is nothing to fit to, or a residual is no number.
    """
    _check(residuals)
    atoms = composition.sum(axis=1)

    def solve(rows: Bools, strengths: Floats) -> Floats:
        x, y, n = composition[rows], residuals[rows], atoms[rows]
        mean = float(n @ y) / float(n @ n)
        values, vectors = np.linalg.eigh(x.T @ x)
        projected = vectors.T @ (x.T @ (y - n * mean))
        shrunk = projected[:, None] / (np.maximum(values, 0.0)[:, None] + strengths)
        return mean + vectors @ shrunk

    scale = float(np.mean(atoms**2))
    fold = np.random.default_rng([seed, 7]).permutation(len(residuals)) % _FOLDS
    losses = np.zeros(len(_GRID))
    if len(residuals) >= 2 * _FOLDS:
        for k in range(_FOLDS):
            left = fold == k
            found = composition[left] @ solve(~left, _GRID * scale)
            losses += np.square(residuals[left][:, None] - found).sum(axis=0)
    best = len(_GRID) - 1 - int(np.argmin(losses[::-1]))
    shifts = solve(np.ones(len(residuals), dtype=bool), _GRID[[best]] * scale)[:, 0]
    return CompositionFit(
        shifts=shifts,
        strength=float(_GRID[best]),
        before=float(np.abs(residuals).mean()),
        after=float(np.abs(residuals - composition @ shifts).mean()),
    )


def fit_odds(
    composition: Floats,
    labels: Floats,
    offset: Floats,
    *,
    seed: int = 0,
) -> CompositionFit:
    """Fits the log-odds of yes as offset + composition · shifts, by penalised likelihood.

    Logistic regression with a ridge about a constant, solved by Newton's method (Hastie, Tibshirani
    and Friedman, The Elements of Statistical Learning, section 4.4.1,
    doi:10.1007/978-0-387-84858-7).

    Args:
        composition: [n, n_elements], fractions of the elements.
        labels: [n], 0 or 1.
        offset: [n], log-odds that are known already.
        seed: of the folds.

    Raises:
        DataError: there is nothing to fit to.
    """
    _check(labels)

    def solve(rows: Bools, strength: float) -> Floats:
        x, y, known = composition[rows], labels[rows], offset[rows]
        # half a structure of each kind keeps the odds finite where all are alike
        share = (y.sum() + 0.5) / (len(y) + 1.0)
        mean = np.log(share / (1.0 - share)) - known.mean()
        weights = np.full(composition.shape[1], mean)
        for _ in range(_NEWTON):
            odds = 1.0 / (1.0 + np.exp(-np.clip(known + x @ weights, -30.0, 30.0)))
            slope = x.T @ (odds - y) + strength * (weights - mean)
            curvature = (x * (odds * (1.0 - odds))[:, None]).T @ x
            curvature += strength * np.eye(len(weights))
            step = np.linalg.solve(curvature, slope)
            weights = weights - step
            if np.abs(step).max() < 1e-9:
                break
        return weights

    def surprise(rows: Bools, weights: Floats) -> float:
        z = np.clip(offset[rows] + composition[rows] @ weights, -30.0, 30.0)
        return float((np.log1p(np.exp(-z)) + (1.0 - labels[rows]) * z).sum())

    strengths = np.logspace(-2, 3, 11)
    fold = np.random.default_rng([seed, 7]).permutation(len(labels)) % _FOLDS
    best = strengths[-1]
    if len(labels) >= 2 * _FOLDS:
        losses = [
            sum(surprise(fold == k, solve(fold != k, s)) for k in range(_FOLDS)) for s in strengths
        ]
        best = strengths[int(np.argmin(losses))]
    everything = np.ones(len(labels), dtype=bool)
    weights = solve(everything, float(best))
    zeros = np.zeros_like(weights)
    return CompositionFit(
        shifts=weights,
        strength=float(best),
        before=surprise(everything, zeros) / len(labels),
        after=surprise(everything, weights) / len(labels),
    )


def _check(values: Floats) -> None:
    if not len(values):
        raise DataError("no training structure has a value of the property")
    if not np.isfinite(values).all():
        raise DataError("a value of the property is NaN or infinite")
