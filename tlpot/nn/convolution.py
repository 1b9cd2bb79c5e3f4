"""The channel-wise tensor product with the edge harmonics, summed over neighbours."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from tlpot.nn.channels import ChannelLinear, ChannelMLP
from tlpot.nn.constant import Constant
from tlpot.nn.couplings import clebsch_gordan, convolution_paths
from tlpot.nn.edges import Edges


class Convolution(nn.Module):
    """A_i^{l₃m₃c} = Σ_j Σ_paths W R(r_ij) C^{l₃}_{l₁l₂} Y^{l₁}(r̂_ij) h_j^{l₂c} / √n̄.

    The atomic basis of MACE (arXiv:2206.07697, eq. 8), natural parity only. The couplings act
    on the harmonics, which have no channels; what is left is a matrix product over the
    neighbours for each path.

    Args:
        l_in: highest degree of the senders' features.
        l_edge: highest degree of the harmonics.
        l_out: highest degree of the result.
        n_channels: channels of senders and result.
        n_basis: number of radial basis functions.
        radial_hidden: hidden widths of the radial network; empty for a linear map.
        avg_neighbors: n̄, the average number of neighbours in the training set.
    """

    def __init__(
        self,
        *,
        l_in: int,
        l_edge: int,
        l_out: int,
        n_channels: int,
        n_basis: int,
        radial_hidden: tuple[int, ...],
        avg_neighbors: float,
    ) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.paths = convolution_paths(l_in, l_edge, l_out)
        self.sender_sizes = [2 * l + 1 for l in range(l_in + 1)]
        self.angular_sizes = [(2 * l2 + 1) * (2 * l3 + 1) for _, l2, l3 in self.paths]
        self.radial = ChannelMLP(n_basis, *radial_hidden, len(self.paths) * n_channels)
        fan_in = [sum(path[2] == l for path in self.paths) for l in range(l_out + 1)]
        self.mix = nn.ModuleList(ChannelLinear(n * n_channels, n_channels) for n in fan_in)
        self.couplings = Constant(_coupling_matrix(self.paths, l_edge) / math.sqrt(avg_neighbors))

    def forward(self, features: Tensor, edges: Edges) -> Tensor:
        """Maps features [n_atoms, (l_in+1)², c] to the atomic basis [n_atoms, (l_out+1)², c]."""
        n_edges = len(edges.center)
        # split, not slices: the gradient of a slice is a zero-padded copy of the whole
        senders = features.index_select(0, edges.neighbor).split(self.sender_sizes, dim=1)
        weights = self.radial(edges.radial).split(self.n_channels, dim=1)
        angular = (edges.harmonics @ self.couplings()).split(self.angular_sizes, dim=1)
        sums: list[list[Tensor]] = [[] for _ in self.mix]
        for (_, l2, l3), weight, block in zip(self.paths, weights, angular, strict=True):
            coupled = block.reshape(n_edges, 2 * l2 + 1, 2 * l3 + 1)
            sums[l3].append(edges.contract(coupled, weight[:, None] * senders[l2]))
        mixed = [mix(torch.cat(s, dim=2)) for mix, s in zip(self.mix, sums, strict=True)]
        return torch.cat(mixed, dim=1)


def _coupling_matrix(paths: list[tuple[int, int, int]], l_edge: int) -> np.ndarray:
    """Returns [(l_edge+1)², Σ_paths (2l₂+1)(2l₃+1)], each path scaled to unit variance."""
    blocks = []
    for l1, l2, l3 in paths:
        block = np.zeros(((l_edge + 1) ** 2, (2 * l2 + 1) * (2 * l3 + 1)))
        coupling = clebsch_gordan(l1, l2, l3) * math.sqrt(2 * l3 + 1)
        block[l1 * l1 : (l1 + 1) ** 2] = coupling.reshape(2 * l1 + 1, -1)
        blocks.append(block)
    return np.concatenate(blocks, axis=1)
