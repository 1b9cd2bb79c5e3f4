"""Last-layer prediction rigidity: how well the training frames pin down a prediction.

An energy is linear in the last weights, E = f·w + …, with f the features that enter them, summed
over the atoms. Then σ²(x) = f(x)ᵀ (FᵀF + ς²)⁻¹ f(x), where the rows of F are the features of the
training frames, is the variance of a Bayesian linear regression up to a factor, α², that the
calibration finds (Bigi, Chong, Ceriotti, Grasselli, doi:10.1088/2632-2153/ad805f).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from tlpot.graph import AtomGraph
from tlpot.models.spread import Calibration, Spread
from tlpot.nn.constant import DoubleBuffer
from tlpot.segment import segment_sum
from tlpot.torch_mode import plain_torch

Features = Callable[[AtomGraph], Tensor]
"""Gives the last-layer features of every atom, [n_atoms, n_features], float64."""


class LastLayerRigidity(nn.Module):
    """The training frames, as far as uncertainty needs them.

    Args:
        cholesky: [n_features, n_features], lower triangular L with L Lᵀ = FᵀF + ς², float64.
        calibration: of the standard deviations; None leaves α = 1.
    """

    def __init__(self, cholesky: Tensor, calibration: Calibration | None = None) -> None:
        super().__init__()
        # LAPACK gives columns first; a file has rows first, and the order decides on roundings
        self.cholesky = DoubleBuffer(cholesky.contiguous())
        self.calibration = calibration

    def whiten(self, features: Tensor) -> Tensor:
        """Returns L⁻¹ f for each row f of [n, n_features]; its squared norm is σ²."""
        return torch.linalg.solve_triangular(self.cholesky.value, features.mT, upper=False).mT


def system_features(features: Features, graph: AtomGraph) -> Tensor:
    """Returns the features of each structure, [n_systems, n_features]: sums over its atoms."""
    return segment_sum(features(graph), graph.system_idx, graph.n_systems)


def rigid_std(rigidity: LastLayerRigidity, features: Features, graph: AtomGraph) -> Spread:
    """Returns the standard deviations of the energies, not calibrated."""
    with plain_torch(), torch.no_grad():
        white = rigidity.whiten(system_features(features, graph))
    return Spread(energy_std=white.norm(dim=1))


def rigid_forces_std(rigidity: LastLayerRigidity, features: Features, graph: AtomGraph) -> Spread:
    """Returns the standard deviations of energies and forces, not calibrated.

    A force component is −f'·w with f' = ∂f/∂r, so its variance is f'ᵀ (FᵀF + ς²)⁻¹ f'. One
    backward pass for each of the n_features.
    """
    with plain_torch(), torch.enable_grad():
        graph = graph.usable()
        positions = graph.positions.detach().requires_grad_(True)
        moved = replace(graph, positions=positions, once=False)
        white = rigidity.whiten(system_features(features, moved))
        variance = torch.zeros_like(graph.positions)
        if white.requires_grad:  # else nothing depends on the positions
            for column in white.sum(dim=0):
                (slope,) = torch.autograd.grad(
                    column, positions, retain_graph=True, materialize_grads=True
                )
                variance += slope.square()
    return Spread(energy_std=white.detach().norm(dim=1), forces_std=variance.sqrt())
