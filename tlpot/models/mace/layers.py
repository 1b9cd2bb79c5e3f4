"""What the interaction blocks of MACE have beside those of tlpot: matrices for each element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlpot.models.mace.architecture import MaceArchitecture
from tlpot.nn import ChannelLinear, Convolution, Edges, Kept, SymmetricProduct


@dataclass(frozen=True, kw_only=True, slots=True)
class ElementOrder:
    """The atoms of a batch put in the order of their elements.

    Attributes:
        species: index of each atom's element, [n_atoms].
        order: atoms by element, [n_atoms].
        place: where each atom comes in that order, [n_atoms].
        present: elements that occur, ascending.
        counts: atoms of each.
        index: `present` as a tensor.
        local: each atom's place among `present`, [n_atoms].
    """

    species: Tensor
    order: Tensor
    place: Tensor
    present: list[int]
    counts: list[int]
    index: Tensor
    local: Tensor

    @classmethod
    def of(cls, species: Tensor, before: Tensor | None = None) -> ElementOrder:
        """Sorts the atoms of a batch.

        Args:
            species: index of each atom's element, [n_atoms].
            before: `index` of another batch, which is used again where it is the same: what was
                made for it can then be kept.
        """
        index, local, counts = torch.unique(species, return_inverse=True, return_counts=True)
        if before is not None and before.device == index.device and torch.equal(before, index):
            index = before
        order = local.argsort(stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        return cls(
            species=species, order=order, place=place, present=index.tolist(),
            counts=counts.tolist(), index=index, local=local,
        )  # fmt: skip


class ElementMap(nn.Module):
    """y_i = x_i W_{z_i}/√n_in, a matrix for each element.

    The ``FullyConnectedTensorProduct`` of features with the elements' one-hot vectors: one matrix
    product for each element that occurs.

    Args:
        n_elements: number of matrices.
        n_in: channels that come in.
        n_out: channels that go out.
    """

    def __init__(self, n_elements: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_elements, n_in, n_out))
        self.scale = 1.0 / math.sqrt(n_in)
        self._kept = Kept()

    def forward(self, x: Tensor, elements: ElementOrder) -> Tensor:
        """Maps [n_atoms, 2l+1, n_in] to [n_atoms, 2l+1, n_out]."""
        weight = self.weight
        matrices = self._kept.get(
            lambda: weight.index_select(0, elements.index) * self.scale, weight, elements.index
        )
        if len(elements.present) == 1:
            return x @ matrices[0]
        parts = x.index_select(0, elements.order).split(elements.counts)
        mapped = [part @ matrix for part, matrix in zip(parts, matrices, strict=True)]
        return torch.cat(mapped).index_select(0, elements.place)


class ElementMaps(nn.Module):
    """An `ElementMap` of its own for each degree.

    Args:
        n_degrees: l_max + 1.
        n_elements: number of matrices of each.
        n_in: channels that come in, for each degree.
        n_out: channels that go out.
    """

    def __init__(self, n_elements: int, n_in: Sequence[int], n_out: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(ElementMap(n_elements, n, n_out) for n in n_in)

    def forward(self, features: Sequence[Tensor], elements: ElementOrder) -> list[Tensor]:
        """Maps [n_atoms, 2l+1, n_in] for each degree; further degrees are left out."""
        return [each(x, elements) for each, x in zip(self.maps, features, strict=False)]


class MaceInteraction(nn.Module):
    """An interaction block of MACE with the product that follows it.

    h' = W B(A(h)) + W_z h with the neighbour sums mixed by a matrix for each element (``plain``)
    or by one for all (``residual``), and divided by a constant or by a learned density of
    neighbours. The term of h is there in all layers but a plain first one; in a residual first
    one, whose features are those of the elements, it is a constant of the element.

    Args:
        architecture: sizes.
        layer: which of its blocks.
    """

    def __init__(self, architecture: MaceArchitecture, layer: int) -> None:
        super().__init__()
        a, c, n = architecture, architecture.n_channels, len(architecture.elements)
        kind, first = a.blocks[layer], layer == 0
        residual = kind in ("residual", "density-residual")
        l_in = 0 if first else a.l_hidden
        l_out = 0 if layer == a.n_layers - 1 else a.l_hidden
        sent = a.edge_channels[layer]
        self.sender = (
            None
            if first
            else nn.ModuleList(ChannelLinear(c, sent) for _ in range(a.edge_degrees[layer] + 1))
        )
        self.convolution = Convolution(
            l_in=0 if first else a.edge_degrees[layer], l_edge=a.l_max, l_out=a.l_max,
            n_channels=sent, n_basis=a.n_basis, radial_hidden=a.radial_hidden,
            avg_neighbors=1.0, n_out=c,
        )  # fmt: skip
        self.divisor = 1.0 if "density" in kind else a.avg_neighbors[layer]
        self.density = nn.Parameter(torch.randn(a.n_basis)) if "density" in kind else None
        self.element_mix = None
        if not residual:
            self.convolution.mix = nn.ModuleList()
            self.element_mix = ElementMaps(n, self.convolution.fan_in, c)
        self.product = SymmetricProduct(
            l_in=a.l_max, degrees=tuple(range(l_out + 1)), correlation=a.correlation[layer],
            n_channels=c, n_species=n,
        )  # fmt: skip
        self.update = nn.ModuleList(ChannelLinear(c, c) for _ in range(l_out + 1))
        self.offset = nn.Parameter(torch.randn(n, c)) if residual and first else None
        kept = min(l_in, l_out) + 1
        self.skip = None
        if residual and not first:
            self.skip = ElementMaps(n, [c] * kept, c)

    def forward(
        self, features: Sequence[Tensor], edges: Edges, elements: ElementOrder, one_hot: Tensor
    ) -> list[Tensor]:
        """Maps features [n_atoms, 2l+1, c], one for each degree, to those of the next layer.

        Args:
            features: of the atoms.
            edges: the pairs.
            elements: of the atoms.
            one_hot: of the elements that occur, [n_present, n_elements].
        """
        senders = features
        if self.sender is not None:
            senders = [up(x) for up, x in zip(self.sender, features, strict=False)]
        sums = self.convolution.sums(senders, edges)
        if self.element_mix is not None:
            basis = self.element_mix(sums, elements)
        else:
            basis = [mix(s) for mix, s in zip(self.convolution.mix, sums, strict=True)]
        if self.density is not None:
            weights = torch.tanh((edges.radial @ self.density) ** 2)
            divisor = (edges.sum(weights) + 1.0)[:, None, None]
            basis = [b / divisor for b in basis]
        else:
            basis = [b / self.divisor for b in basis]
        compiled = edges.lists is not None
        products = self.product(basis, one_hot, elements.local, compiled=compiled)
        updated = [linear(x) for linear, x in zip(self.update, products, strict=True)]
        if self.offset is not None:
            constant = self.offset.index_select(0, elements.species)
            updated[0] = updated[0] + constant[:, None]
        if self.skip is None:
            return updated
        kept = self.skip(features, elements)
        return [x + y for x, y in zip(updated, kept, strict=False)] + updated[len(kept) :]
