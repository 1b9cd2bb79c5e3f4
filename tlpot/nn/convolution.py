"""The channel-wise tensor product with the edge harmonics, summed over neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from tlpot.kernels import (
    ConvolutionPlan,
    convolve,
    convolve_in_parts,
    sum_by_element,
    sum_by_element_in_parts,
)
from tlpot.nn.channels import ChannelLinear, ChannelMLP
from tlpot.nn.couplings import Constant, clebsch_gordan, convolution_paths
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
        n_out: channels of the result; None for as many as the senders have.
    """

    radial: Any
    """A `ChannelMLP`, or a module with the same methods that reads the pairs' tags, too."""

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
        n_out: int | None = None,
    ) -> None:
        super().__init__()
        self.n_channels, self.l_out = n_channels, l_out
        self.paths = convolution_paths(l_in, l_edge, l_out)
        self.angular_sizes = [(2 * l2 + 1) * (2 * l3 + 1) for _, l2, l3 in self.paths]
        self.radial = ChannelMLP(n_basis, *radial_hidden, len(self.paths) * n_channels)
        self.fan_in = [
            sum(path[2] == l for path in self.paths) * n_channels for l in range(l_out + 1)
        ]
        self.mix = nn.ModuleList(
            ChannelLinear(n, n_channels if n_out is None else n_out) for n in self.fan_in
        )
        couplings = _coupling_matrix(self.paths, l_edge) / math.sqrt(avg_neighbors)
        self.couplings = Constant(couplings)
        self.plan = ConvolutionPlan(self.paths, couplings, n_channels)

    def forward(self, features: Sequence[Tensor], edges: Edges) -> list[Tensor]:
        """Sums over neighbours.

        Args:
            features: h, [n_atoms, 2l+1, c] for each degree.
            edges: the pairs.

        Returns:
            The atomic basis A, likewise.
        """
        sums = self.sums(features, edges)
        return [mix(s) for mix, s in zip(self.mix, sums, strict=True)]

    def sums(self, features: Sequence[Tensor], edges: Edges) -> list[Tensor]:
        """Sums each path over neighbours: [n_atoms, 2l+1, n_paths · c] for each degree."""
        if edges.lists is None:
            return self._sums(features, edges)
        tags = () if edges.tags is None else (edges.tags,)
        if edges.first_order:
            return convolve_in_parts(
                self.plan, edges.lists, edges.harmonics, edges.radial, features, self.radial, *tags
            )
        weights = self.radial(edges.radial, *tags)
        return convolve(self.plan, edges.lists, edges.harmonics, weights, features)

    def of_elements(self, table: Tensor, species: Tensor, edges: Edges) -> list[Tensor]:
        """Does what `forward` does where the senders' features are those of their elements.

        Radial functions have few hidden values and there are few elements, so those are summed
        over the neighbours, and channels appear only after the sum. Where torch does the sums,
        pairs must be padded.

        Args:
            table: features of the elements, [n_elements, c]; degree 0 only.
            species: index of each atom's element, [n_atoms].
            edges: the pairs.
        """
        sums = self._sums_by_element(len(table), species, edges)
        by_degree = sums.split(self.angular_sizes, dim=1)
        return [s @ m.to(sums) for s, m in zip(by_degree, self._element_maps(table), strict=True)]

    def element_maps(self, table: Tensor) -> list[Tensor]:
        """Returns maps from sums of hidden values times harmonics to the atomic basis, by degree.

        They do what `of_elements` does with sums of the plain harmonics; where `mix` is empty, what
        `sums` does.

        Args:
            table: see there.

        Returns:
            [n_elements · n_hidden, c] for each degree, float64.
        """
        couplings = self.couplings.exact.to(table.device)
        scales = [couplings[l * l, l * l] for l in range(self.l_out + 1)]
        return [scale * m for scale, m in zip(scales, self._element_maps(table), strict=True)]

    def _element_maps(self, table: Tensor) -> list[Tensor]:
        # in double precision, as an error of rounding in the maps would be the same for all atoms
        last = self.radial.last().double().view(self.radial.n_hidden, -1, self.n_channels)
        maps = (table.double()[:, None, None] * last).flatten(0, 1)
        if not len(self.mix):
            return list(maps.unbind(dim=1))
        return [
            maps[:, l] @ cast(ChannelLinear, mix).matrix().double()
            for l, mix in enumerate(self.mix)
        ]

    def prefers_elements(self, n_elements: int, edges: Edges) -> bool:
        """Whether `of_elements` can be used and takes less time, by the number of operations."""
        if edges.lists is None and edges.blocks is None:
            return False
        n_hidden, n_harmonics = self.radial.n_hidden, edges.harmonics.shape[1]
        apart = edges.n_atoms * n_harmonics * n_elements * n_hidden
        along = len(edges.center) * (n_hidden * len(self.paths) + 2 * n_harmonics)
        # where the two take the same time, for molecules of 27 atoms and for water; compiled and
        # without second derivatives, radial weights never leave the cache
        worth = 0.5 if edges.lists is not None and edges.first_order else 1.2
        return apart < worth * along

    def _sums_by_element(self, n_elements: int, species: Tensor, edges: Edges) -> Tensor:
        """Sums hidden radial values times harmonics, [n_atoms, m, n_elements · n_hidden]."""
        angular = edges.harmonics @ self.couplings()
        if edges.lists is not None and edges.first_order:
            return sum_by_element_in_parts(
                edges.lists, species, n_elements, angular, edges.radial, self.radial.hidden
            )
        hidden = self.radial.hidden(edges.radial)
        if edges.lists is not None:
            return sum_by_element(edges.lists, species, n_elements, angular, hidden)
        kinds = torch.arange(n_elements, device=species.device)
        tags = (species.index_select(0, edges.neighbor)[:, None] == kinds).to(hidden)
        tagged = (tags[:, :, None] * hidden[:, None, :]).flatten(1)
        return edges.contract(angular[:, None], tagged[:, None])

    def _sums(self, features: Sequence[Tensor], edges: Edges) -> list[Tensor]:
        """Does in torch what `convolve` does."""
        tags = () if edges.tags is None else (edges.tags,)
        hidden = self.radial.hidden(edges.radial, *tags)
        # a path at a time, whose weights then stay in the cache until they are used; split, not
        # slices: the gradient of a slice is a zero-padded copy of the whole
        last = self.radial.last().split(self.n_channels, dim=1)
        angular = (edges.harmonics @ self.couplings()).split(self.angular_sizes, dim=1)
        senders = [h.index_select(0, edges.neighbor) for h in features]
        sums: list[list[Tensor]] = [[] for _ in range(self.l_out + 1)]
        for (_, l2, l3), part, block in zip(self.paths, last, angular, strict=True):
            coupled = block.reshape(len(block), 2 * l2 + 1, 2 * l3 + 1)
            weighted = (hidden @ part)[:, None] * senders[l2]
            sums[l3].append(edges.contract(coupled, weighted))
        return [torch.cat(s, dim=2) for s in sums]


def _coupling_matrix(paths: list[tuple[int, int, int]], l_edge: int) -> np.ndarray:
    """Returns [(l_edge+1)², Σ_paths (2l₂+1)(2l₃+1)], each path scaled to unit variance."""
    blocks = []
    for l1, l2, l3 in paths:
        block = np.zeros(((l_edge + 1) ** 2, (2 * l2 + 1) * (2 * l3 + 1)))
        coupling = clebsch_gordan(l1, l2, l3) * math.sqrt(2 * l3 + 1)
        block[l1 * l1 : (l1 + 1) ** 2] = coupling.reshape(2 * l1 + 1, -1)
        blocks.append(block)
    return np.concatenate(blocks, axis=1)
