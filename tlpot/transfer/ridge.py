"""Ridge regression in closed form, from energies and forces, batch by batch.

w = (Σ x xᵀ + λ 1)⁻¹ Σ x y (Hoerl and Kennard, doi:10.1080/00401706.1970.10488634). Rows enter
by their products only, so any number of them takes the memory of one matrix for each fold, and
the error on a fold that was left out comes from the same matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tlpot.data import Batch, Dataset, evaluation_batches
from tlpot.errors import DataError
from tlpot.evaluation import evaluated
from tlpot.models import LevelPotential, pooled_rows
from tlpot.numbers import Floats, Ints

GRID = np.logspace(-12, 6, 37)
"""Strengths λ that are tried, as multiples of the mean diagonal of Σ x xᵀ; the last is nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """Sums over rows x with targets y and weights v.

    Attributes:
        gram: Σ v x xᵀ, [n, n].
        cross: Σ v x y, [n].
        square: Σ v y².
    """

    gram: Floats
    cross: Floats
    square: float

    @classmethod
    def zero(cls, n: int) -> Moments:
        """Returns the sums over no rows."""
        return cls(gram=np.zeros((n, n)), cross=np.zeros(n), square=0.0)

    @classmethod
    def of(
        cls,
        rows: Floats,
        targets: Floats,
        weights: Floats | float = 1.0,
    ) -> Moments:
        """Returns the sums over rows [n_rows, n] with targets [n_rows] and weights [n_rows]."""
        root = np.sqrt(np.broadcast_to(np.asarray(weights, dtype=np.float64), targets.shape))
        x, y = rows * root[:, None], targets * root
        return cls(gram=x.T @ x, cross=x.T @ y, square=float(y @ y))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            gram=self.gram + other.gram,
            cross=self.cross + other.cross,
            square=self.square + other.square,
        )

    def divided(self, scale: Floats) -> Moments:
        """Returns the sums for rows divided by `scale` [n]."""
        inverse = 1.0 / scale
        return Moments(
            gram=self.gram * inverse[:, None] * inverse,
            cross=self.cross * inverse,
            square=self.square,
        )

    def solve(self, strengths: Floats, n_columns: int | None = None) -> Floats:
        """Returns the weights for each strength, [n, n_strengths].

        Args:
            strengths: λ as multiples of the mean diagonal of Σ v x xᵀ.
            n_columns: over which the mean goes, where columns of zeros are left out; None for n.
        """
        values, vectors = np.linalg.eigh(self.gram)
        # rounding leaves eigenvalues just below zero, which a small strength would not outweigh
        values = np.maximum(values, 0.0)
        mean = float(np.trace(self.gram)) / (n_columns or len(values))
        absolute = strengths * max(mean, 1e-300)
        shrunk = (vectors.T @ self.cross)[:, None] / (values[:, None] + absolute)
        return vectors @ shrunk

    def loss(self, weights: Floats) -> Floats:
        """Returns Σ v (y − x·w)² for weights [n, n_strengths]."""
        fitted = np.einsum("ps,ps->s", weights, self.gram @ weights)
        return self.square - 2.0 * (self.cross @ weights) + fitted


@dataclass(frozen=True, kw_only=True, slots=True)
class RidgeFit:
    """A solution.

    Attributes:
        weights: [n].
        strength: λ as a multiple of the mean diagonal of Σ x xᵀ.
        ratio: loss on the folds that were left out, as a share of the loss without the
            regression; NaN where the strength was given.
    """

    weights: Floats
    strength: float
    ratio: float


def fit_ridge(
    folds: Sequence[Moments], strength: float | None = None, *, n_columns: int | None = None
) -> RidgeFit:
    """Solves for all folds together, with the strength that does best on folds left out.

    Args:
        folds: sums over the rows of each fold.
        strength: to use in place of the best.
        n_columns: see `Moments.solve`.

    Raises:
        DataError: fewer than two folds to choose a strength with.
    """
    total = sum(folds[1:], start=folds[0])
    ratio = float("nan")
    if strength is None:
        if len(folds) < 2:
            raise DataError(
                "one fold is not enough to choose the strength of the regularisation; give more "
                "frames, or set it with strategy.strength=..."
            )
        losses = np.zeros(len(GRID))
        for k, left_out in enumerate(folds):
            others = [fold for j, fold in enumerate(folds) if j != k]
            weights = sum(others[1:], start=others[0]).solve(GRID, n_columns)
            losses += left_out.loss(weights)
        # the largest strength among equals: the smallest weights
        best = len(GRID) - 1 - int(np.argmin(losses[::-1]))
        strength, ratio = float(GRID[best]), float(losses[best] / max(total.square, 1e-300))
    weights = total.solve(np.array([strength]), n_columns)[:, 0]
    return RidgeFit(weights=weights, strength=strength, ratio=ratio)


def assign_folds(groups: Ints, n_folds: int, seed: int) -> Ints:
    """Puts whole groups into folds of about the same size.

    Args:
        groups: [n_frames], what each frame belongs to; all different to divide frames.
        n_folds: at most; there are no more folds than groups.
        seed: of the order in which groups of one size are dealt.

    Returns:
        [n_frames], the fold of each frame, from 0 without gaps.
    """
    _, members, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order], kind="stable")]
    with_labels = np.zeros(min(n_folds, len(counts)), dtype=np.int64)
    owner = np.zeros(len(counts), dtype=np.int64)
    for group in order:
        owner[group] = int(np.argmin(with_labels))
        with_labels[owner[group]] += counts[group]
    return owner[members.reshape(-1)]


BATCH = 32
"""Frames at a time."""
BATCH_ATOMS = 512
"""Atoms at a time: second derivatives take several times the memory of a training step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForceRows:
    """Derivatives of pooled features by one coordinate of one atom in each structure.

    Attributes:
        rows: −∂Φ/∂r, [n_systems, n_elements · n_features]; a linear map of the features with
            weights w adds the force rows · w.
        atoms: [n_systems], which atom of the batch; −1 where a structure has no such atom.
        axis: which coordinate.
    """

    rows: Tensor
    atoms: Tensor
    axis: int


def force_rows(model: LevelPotential, batch: Batch, blocks: tuple[str, ...]) -> Iterator[ForceRows]:
    """Yields the rows atom by atom, so that the whole Jacobian is never held.

    The gradient u(v) = ∂(v·Φ)/∂r is linear in v, so that ∂u_k/∂v is row k of the Jacobian
    for all structures at once: 3 n_atoms derivatives of the largest structure, however many
    features there are.

    Args:
        model: a potential at one level.
        batch: structures, on the model's device.
        blocks: see `tlpot.models.feature_blocks`.
    """
    positions = batch.graph.positions.detach().requires_grad_(True)
    graph = replace(batch.graph, positions=positions, first_order=False)
    with torch.enable_grad():
        pooled = pooled_rows(model, graph, blocks)
        probe = torch.zeros_like(pooled).requires_grad_(True)
        (gradient,) = torch.autograd.grad(
            (pooled * probe).sum(), positions, create_graph=True, materialize_grads=True
        )
    first = torch.cumsum(batch.sizes, 0) - batch.sizes
    for place in range(int(batch.sizes.max())):
        present = batch.sizes > place
        atoms = torch.where(present, first + place, -1)
        for axis in range(3):
            if gradient.requires_grad:
                chosen = gradient[atoms[present], axis].sum()
                (rows,) = torch.autograd.grad(
                    chosen, probe, retain_graph=True, materialize_grads=True
                )
            else:  # nothing depends on the positions: atoms without neighbours
                rows = torch.zeros_like(pooled)
            yield ForceRows(rows=-rows.detach(), atoms=atoms, axis=axis)


def missing_latent(model: LevelPotential, labels: Tensor, found: Tensor) -> Tensor:
    """Returns label − value of the model, of what a term can be added to, [n_systems].

    Energies, or latent values of a property, see `tlpot.models.PropertyTarget`.
    """
    if model.target is None:
        return labels - found
    return model.target.latent(labels) - model.target.latent(found)


def normal_equations(
    model: LevelPotential,
    dataset: Dataset,
    indices: Ints,
    level: str,
    blocks: tuple[str, ...],
    folds: Ints,
    *,
    columns: Ints,
    force_weight: float,
) -> list[Moments]:
    """Gathers the sums for a linear map that corrects a model's energies and forces.

    The loss is Σ_frames ΔE²/n_atoms + force_weight Σ_components ΔF².

    Args:
        model: what is corrected, and whose features are read.
        dataset: where labels come from.
        indices: the frames.
        level: of the labels.
        blocks: see `tlpot.models.feature_blocks`.
        folds: [n_frames], the fold of each frame.
        columns: which of the n_elements · n_features: others, as those of elements that no frame
            has, need no memory.
        force_weight: Å².

    Returns:
        The sums of each fold.
    """
    order = np.argsort(dataset.sizes[indices], kind="stable")
    device = model.potential.device
    n_folds, n_columns = int(folds.max()) + 1, len(columns)
    used = torch.from_numpy(columns).to(device)
    gram = torch.zeros((n_folds, n_columns, n_columns), dtype=torch.float64, device=device)
    cross = torch.zeros((n_folds, n_columns), dtype=torch.float64, device=device)
    square = torch.zeros(n_folds, dtype=torch.float64, device=device)

    def add(rows: Tensor, targets: Tensor, weight: Tensor, fold: Tensor) -> None:
        known = targets.isfinite()
        for k in fold[known].unique().tolist():
            mine = known & (fold == k)
            x, y, v = rows[mine][:, used], targets[mine], weight[mine]
            weighted = x * v[:, None]
            gram[k] += weighted.T @ x
            cross[k] += weighted.T @ y
            square[k] += (v * y * y).sum()

    start = 0
    largest = int(dataset.sizes[indices].max())

    def with_forces(batch: Batch) -> bool:
        return force_weight > 0 and bool(batch.targets[level].forces.isfinite().any())

    batches = evaluation_batches(
        model, dataset, indices[order], (level,), device=device, batch_size=BATCH,
        max_atoms=max(BATCH_ATOMS, largest), show="normal equations",
    )  # fmt: skip
    for batch, found, _ in evaluated(model, batches, forces=with_forces):
        fold = torch.from_numpy(folds[order][start : start + len(batch.sizes)]).to(device)
        start += len(batch.sizes)
        targets = batch.targets[level]
        with torch.no_grad():
            pooled = pooled_rows(model, batch.graph, blocks)
        # the rows and targets of an intensive property do not grow with the structure
        intensive = model.target is not None and not model.target.quantity.extensive
        weights = torch.ones_like(found.energy) if intensive else 1.0 / batch.sizes.double()
        add(pooled, missing_latent(model, targets.energy, found.energy), weights, fold)
        if found.forces is None:
            continue
        missing = targets.forces - found.forces
        weight = torch.full_like(targets.energy, force_weight)
        for part in force_rows(model, batch, blocks):
            target = missing[part.atoms.clamp(min=0), part.axis]
            target = torch.where(part.atoms >= 0, target, torch.nan)
            add(part.rows, target, weight, fold)
    return [
        Moments(gram=g, cross=c, square=float(s))
        for g, c, s in zip(gram.cpu().numpy(), cross.cpu().numpy(), square.tolist(), strict=True)
    ]
