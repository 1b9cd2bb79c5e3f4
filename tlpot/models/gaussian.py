"""A Gaussian process on the features of a structure, as a term of the energy."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlpot.models.correction import CorrectionInfo
from tlpot.models.features import pool_features
from tlpot.nn.constant import DoubleBuffer


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
    """

    has_forces = True

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
        """
        covariance = self._covariance(features, species, system_idx, n_systems)
        solved = torch.linalg.solve_triangular(self.cholesky.value, covariance.T, upper=False)
        amplitude, _, noise = self.kernel.value
        return (amplitude + noise - solved.square().sum(dim=0)).clamp(min=0.0).sqrt()

    def _covariance(
        self, features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int
    ) -> Tensor:
        """Returns the kernel between structures and training frames, [n_systems, n_frames]."""
        pooled = pool_features(features, species, system_idx, n_systems, self.n_elements)
        x, centers = pooled.flatten(1) * self.scale.value, self.centers.value
        # |x − y|² = |x|² + |y|² − 2 x·y has no singular derivative at x = y, unlike cdist
        squares = x.square().sum(1)[:, None] + centers.square().sum(1) - 2.0 * (x @ centers.T)
        amplitude, length, _ = self.kernel.value
        return amplitude * torch.exp(-0.5 * squares.clamp(min=0.0) / length**2)
