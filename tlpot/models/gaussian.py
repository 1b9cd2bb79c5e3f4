"""A Gaussian process on the features of a structure, as a term of the energy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlpot.energy import EVERYTHING
from tlpot.errors import ConfigError
from tlpot.graph import AtomGraph
from tlpot.models.corrections import CorrectionInfo
from tlpot.models.features import pool_features
from tlpot.models.spread import Spread
from tlpot.nn import DoubleBuffer
from tlpot.torch_mode import plain_torch


class GaussianCorrection(nn.Module):
    """E += Σ_k α_k σ² exp(−|x − x_k|²/2ℓ²), with x the pooled features divided by their spread.

    Rasmussen and Williams, Gaussian Processes for Machine Learning, eqs. 2.25 and 2.26
    (doi:10.7551/mitpress/3206.001.0001). The energy belongs to the structure and not to its
    atoms, among which it is divided evenly. Far from the training frames it is zero: what
    remains is the model underneath. It does not add up for molecules far apart.

    Args:
        info: description; ``sizes`` is the number of training frames.
        n_elements: elements of the potential.
        n_features: features of the blocks.

    Attributes:
        cholesky: of the kernel matrix with noise on its diagonal, [n_frames, n_frames], eV; None
            if the standard deviations are not those of the level that it is part of.
    """

    implements = EVERYTHING
    cholesky: DoubleBuffer | None

    def __init__(self, info: CorrectionInfo, n_elements: int, n_features: int) -> None:
        super().__init__()
        (n_frames,) = info.sizes
        self.info = info
        self.n_elements = n_elements
        self.scale = DoubleBuffer(np.ones(n_elements * n_features))
        self.centers = DoubleBuffer(np.zeros((n_frames, n_elements * n_features)))
        self.weights = DoubleBuffer(np.zeros(n_frames))
        self.cholesky = DoubleBuffer(np.eye(n_frames))
        self.kernel = DoubleBuffer(np.ones(3))

    @classmethod
    def fitted(
        cls,
        info: CorrectionInfo,
        scale: NDArray[np.float64],
        centers: NDArray[np.float64],
        weights: NDArray[np.float64],
        cholesky: NDArray[np.float64],
        kernel: tuple[float, float, float],
    ) -> GaussianCorrection:
        """Returns a fitted process.

        Args:
            info: description.
            scale: [n_elements, n_features], spread of the pooled features; infinite for one
                that is left out.
            centers: [n_frames, n_elements · n_features], pooled features divided by `scale`.
            weights: α, [n_frames], 1/eV.
            cholesky: of the kernel matrix with noise on its diagonal, [n_frames, n_frames], eV.
            kernel: σ², eV²; ℓ; and the variance of the noise, eV².
        """
        made = cls(info, *scale.shape)
        # model files hold finite numbers only, so the inverse is stored
        values = (1.0 / scale.reshape(-1), centers, weights, cholesky, np.array(kernel))
        buffers = (made.scale, made.centers, made.weights, made.cholesky, made.kernel)
        for buffer, value in zip(buffers, values, strict=True):
            assert buffer is not None
            buffer.value = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float64))
        return made

    def forward(
        self, features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int
    ) -> Tensor:
        """See `Correction`."""
        covariance = self._covariance(features, species, system_idx, n_systems)
        energy = covariance @ self.weights.value
        share = 1.0 / torch.bincount(system_idx, minlength=n_systems)
        return (energy * share).index_select(0, system_idx)

    def energy_std(
        self, features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int
    ) -> Tensor:
        """Returns the standard deviation of each structure's label, noise included, [n_systems].

        In eV, not calibrated.

        Raises:
            ConfigError: the process has forgotten its standard deviations.
        """
        covariance = self._covariance(features, species, system_idx, n_systems)
        factor = self._factor()
        solved = torch.linalg.solve_triangular(factor, covariance.T, upper=False)
        amplitude, _, noise = self.kernel.value
        return (amplitude + noise - solved.square().sum(dim=0)).clamp(min=0.0).sqrt()

    def forces_std(
        self,
        features: Tensor,
        species: Tensor,
        system_idx: Tensor,
        n_systems: int,
        positions: Tensor,
    ) -> Tensor:
        """Returns the standard deviation of each component of the forces, [n_atoms, 3], eV/Å.

        Derivatives of a Gaussian process are one too: with J = ∂x/∂r the variance is
        σ²/ℓ² |J|² − |L⁻¹ ∂k/∂x J|² (Rasmussen and Williams, section 9.4). The noise of the
        labels has no part in it. One backward pass for each feature that is in use.

        Args:
            features: that were computed from `positions`, with a graph.
            species: see `Correction`.
            system_idx: see `Correction`.
            n_systems: see `Correction`.
            positions: [n_atoms, 3], Å.

        Raises:
            ConfigError: the process has forgotten its standard deviations.
        """
        factor = self._factor()
        rows = self._rows(features, species, system_idx, n_systems)
        used = self.scale.value != 0
        if not rows.requires_grad:  # nothing depends on the positions
            return torch.zeros_like(positions)
        jacobian = torch.stack(
            [
                torch.autograd.grad(column, positions, retain_graph=True, materialize_grads=True)[0]
                for column in rows[:, used].sum(dim=0)
            ]
        )
        rows, covariance = rows.detach(), self._kernel(rows.detach())
        amplitude, length, _ = self.kernel.value
        variance = torch.zeros_like(positions)
        for k in range(n_systems):
            mine = system_idx == k
            slopes = jacobian[:, mine].flatten(1)
            away = (rows[k] - self.centers.value)[:, used]
            lean = -covariance[k][:, None] * away / length**2
            known = torch.linalg.solve_triangular(factor, lean, upper=False) @ slopes
            prior = amplitude / length**2 * slopes.square().sum(dim=0)
            variance[mine] = (prior - known.square().sum(dim=0)).view(-1, 3)
        return variance.clamp(min=0.0).sqrt()

    def _factor(self) -> Tensor:
        if self.cholesky is None:
            raise ConfigError("the Gaussian process does not know its standard deviations")
        return self.cholesky.value

    def _covariance(
        self, features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int
    ) -> Tensor:
        """Returns the kernel between structures and training frames, [n_systems, n_frames]."""
        return self._kernel(self._rows(features, species, system_idx, n_systems))

    def _rows(
        self, features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int
    ) -> Tensor:
        """Returns what the kernel compares, [n_systems, n_elements · n_features]."""
        pooled = pool_features(features, species, system_idx, n_systems, self.n_elements)
        return pooled.flatten(1) * self.scale.value

    def _kernel(self, x: Tensor) -> Tensor:
        centers = self.centers.value
        # |x − y|² = |x|² + |y|² − 2 x·y has no singular derivative at x = y, unlike cdist
        squares = x.square().sum(1)[:, None] + centers.square().sum(1) - 2.0 * (x @ centers.T)
        amplitude, length, _ = self.kernel.value
        return amplitude * torch.exp(-0.5 * squares.clamp(min=0.0) / length**2)


def process_spread(
    process: GaussianCorrection,
    read: Callable[[AtomGraph], tuple[Tensor, Tensor]],
    graph: AtomGraph,
    forces: bool,
) -> Spread:
    """Returns the standard deviations of a process, not calibrated.

    Args:
        process: has not forgotten them.
        read: gives features [n_atoms, n_features] and the index of each atom's element.
        graph: a batch.
        forces: whether those of the forces are wanted.
    """
    with plain_torch(), torch.set_grad_enabled(forces):
        graph = graph.usable()
        positions = graph.positions.detach()
        if forces:
            graph = replace(graph, positions=positions.requires_grad_(True), first_order=False)
        features, species = read(graph)
        where = (features, species, graph.system_idx, graph.n_systems)
        slopes = process.forces_std(*where, positions) if forces else None
        return Spread(energy_std=process.energy_std(*where).detach(), forces_std=slopes)
