"""Normal equations of a linear map on features, from energies and from forces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlpot.data import Batch, Dataset, evaluation_batches
from tlpot.evaluation import evaluated
from tlpot.graph import AtomGraph
from tlpot.models import LevelPotential, atomic_features, pool_features
from tlpot.transfer.ridge import Moments

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
        pooled = _pooled(model, graph, blocks)
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


def normal_equations(
    model: LevelPotential,
    dataset: Dataset,
    indices: NDArray[np.int64],
    level: str,
    blocks: tuple[str, ...],
    folds: NDArray[np.int64],
    *,
    n_columns: int,
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
        n_columns: n_elements · n_features.
        force_weight: Å².

    Returns:
        The sums of each fold.
    """
    order = np.argsort(dataset.sizes[indices], kind="stable")
    device = model.potential.device
    n_folds = int(folds.max()) + 1
    gram = torch.zeros((n_folds, n_columns, n_columns), dtype=torch.float64, device=device)
    cross = torch.zeros((n_folds, n_columns), dtype=torch.float64, device=device)
    square = torch.zeros(n_folds, dtype=torch.float64, device=device)

    def add(rows: Tensor, targets: Tensor, weight: Tensor, fold: Tensor) -> None:
        known = targets.isfinite()
        for k in fold[known].unique().tolist():
            mine = known & (fold == k)
            x, y, v = rows[mine], targets[mine], weight[mine]
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
            pooled = _pooled(model, batch.graph, blocks)
        add(pooled, targets.energy - found.energy, 1.0 / batch.sizes.double(), fold)
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


def _pooled(model: LevelPotential, graph: AtomGraph, blocks: tuple[str, ...]) -> Tensor:
    """Returns [n_systems, n_elements · n_features]."""
    features = atomic_features(model, graph, blocks)
    species = model.potential.species(graph.atomic_numbers)
    n_elements = len(model.elements)
    return pool_features(features, species, graph.system_idx, graph.n_systems, n_elements).flatten(
        1
    )
