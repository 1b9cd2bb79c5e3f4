"""A random forest on the features of a structure, as a term of the energy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlpot.energy import ENERGY_ONLY
from tlpot.models.corrections import CorrectionInfo
from tlpot.models.features import pool_features
from tlpot.nn import DoubleBuffer


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
