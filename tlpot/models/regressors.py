"""Closed-form regressors on the features of a potential, as terms of its energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlpot.energy import ENERGY_ONLY, EVERYTHING
from tlpot.errors import ConfigError
from tlpot.graph import AtomGraph
from tlpot.models.features import pool_features
from tlpot.models.spread import Spread
from tlpot.nn import DoubleBuffer
from tlpot.numbers import Floats
from tlpot.torch_mode import plain_torch


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrectionInfo:
    """What a model file says about a correction; the numbers are tensors beside it.

    Attributes:
        kind: name of the regressor.
        blocks: whose features it reads, in this order.
        sizes: of what it stores, as far as elements and blocks do not fix them: nothing for
            ``linear``, frames for ``gaussian process``, nodes and trees for ``forest``.
        fit: how it was fitted and how well, for people.
    """

    kind: str
    blocks: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    fit: Mapping[str, Any] = field(default_factory=dict)


class Correction(Protocol):
    """A term of the energy that reads features."""

    info: CorrectionInfo
    implements: frozenset[str]
    """What it leaves of a model, see `tlpot.energy.implemented`."""

    def __call__(
        self, features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int
    ) -> Tensor:
        """Returns the energy of each atom, [n_atoms], eV, float64.

        Args:
            features: [n_atoms, n_features], float64.
            species: [n_atoms], index of each atom's element.
            system_idx: [n_atoms], which structure each atom belongs to.
            n_systems: number of structures.
        """
        ...


class LinearCorrection(nn.Module):
    """E_i += w_{z_i} · φ_i: linear in the features, with weights of its own for each element.

    There is no intercept, so a free atom keeps its reference energy exactly in all networks where
    the features of an atom without neighbours are zero, see `tlpot.models.atomic_features`.

    Args:
        info: description.
        n_elements: elements of the potential.
        n_features: features of the blocks.
    """

    implements = EVERYTHING

    def __init__(self, info: CorrectionInfo, n_elements: int, n_features: int) -> None:
        super().__init__()
        self.info = info
        self.weights = DoubleBuffer(np.zeros((n_elements, n_features)))

    @classmethod
    def fitted(cls, info: CorrectionInfo, weights: Floats) -> LinearCorrection:
        """Returns the correction with weights [n_elements, n_features], eV."""
        made = cls(info, *weights.shape)
        made.weights.value = torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float64))
        return made

    def forward(
        self, features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int
    ) -> Tensor:
        """See `Correction`."""
        return (features * self.weights.value.index_select(0, species)).sum(dim=1)


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
        scale: Floats,
        centers: Floats,
        weights: Floats,
        cholesky: Floats,
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


class ForestCorrection(nn.Module):
    """E += mean over trees of the leaf that the pooled features fall into (Breiman 2001).

    doi:10.1023/A:1010933404324. The energy is piecewise constant in the positions, so it has
    no forces. It belongs to the structure and is divided evenly among its atoms.

    Args:
        info: description; ``sizes`` are the numbers of nodes and of trees.
        n_elements: elements of the potential.
        n_features: features of the blocks.
    """

    implements = ENERGY_ONLY
    roots: Tensor
    feature: Tensor
    branches: Tensor

    def __init__(self, info: CorrectionInfo, n_elements: int, n_features: int) -> None:
        super().__init__()
        n_nodes, n_trees = info.sizes
        self.info = info
        self.n_elements, self.n_features = n_elements, n_features
        self.threshold = DoubleBuffer(np.zeros(n_nodes))
        self.energy = DoubleBuffer(np.zeros(n_nodes))
        self.register_buffer("roots", torch.zeros(n_trees, dtype=torch.int64))
        self.register_buffer("feature", torch.full((n_nodes,), -1, dtype=torch.int64))
        self.register_buffer("branches", torch.zeros((n_nodes, 2), dtype=torch.int64))

    @classmethod
    def fitted(
        cls,
        info: CorrectionInfo,
        n_elements: int,
        n_features: int,
        trees: Sequence[tuple[NDArray, NDArray, NDArray, NDArray]],
    ) -> ForestCorrection:
        """Returns a fitted forest.

        Args:
            info: description.
            n_elements: elements of the potential.
            n_features: features of the blocks.
            trees: for each, over its nodes from the root: the feature that decides (negative
                in a leaf), the threshold up to which a row goes to the first child, the
                children [n_nodes, 2], and the energy, eV.
        """
        made = cls(info, n_elements, n_features)
        starts = np.cumsum([0] + [len(feature) for feature, *_ in trees])
        made.roots = torch.from_numpy(starts[:-1].astype(np.int64))
        feature, threshold, children, energy = (
            np.concatenate([tree[k] for tree in trees]) for k in range(4)
        )
        leaf = feature < 0
        offsets = np.repeat(starts[:-1], np.diff(starts))
        itself = np.arange(len(feature))[:, None]
        # a leaf is its own child, so that all rows can walk the same number of steps
        children = np.where(leaf[:, None], itself, children + offsets[:, None])
        made.feature = torch.from_numpy(np.where(leaf, -1, feature).astype(np.int64))
        made.branches = torch.from_numpy(children.astype(np.int64))
        made.threshold.value = torch.from_numpy(np.where(leaf, 0.0, threshold))
        made.energy.value = torch.from_numpy(energy.astype(np.float64))
        return made

    def is_whole(self) -> bool:
        """Whether all children and features that the nodes name exist."""
        n_nodes, n_columns = len(self.feature), self.n_elements * self.n_features
        nodes = torch.cat([self.roots, self.branches.flatten()])
        return bool(
            ((nodes >= 0) & (nodes < n_nodes)).all()
            and ((self.feature >= -1) & (self.feature < n_columns)).all()
        )

    def forward(
        self, features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int
    ) -> Tensor:
        """See `Correction`; nothing flows back."""
        pooled = pool_features(
            features.detach(), species, system_idx, n_systems, self.n_elements
        ).flatten(1)
        # thresholds were found on float32 rows
        rows = pooled.float().double()
        node = self.roots.expand(n_systems, -1)
        for _ in range(len(self.feature)):
            feature = self.feature[node]
            if bool((feature < 0).all()):
                break
            value = rows.gather(1, feature.clamp(min=0))
            node = self.branches[node, (value > self.threshold.value[node]).long()]
        energy = self.energy.value[node].mean(dim=1)
        share = 1.0 / torch.bincount(system_idx, minlength=n_systems)
        return (energy * share).index_select(0, system_idx)
