"""One layer of message passing: neighbours, many-body product, update."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tlpot.nn.channels import ChannelLinear
from tlpot.nn.convolution import Convolution
from tlpot.nn.edges import Edges
from tlpot.nn.product import SymmetricProduct


class Interaction(nn.Module):
    """h' = W B(A(h)) + g(z) ⊙ W_s h, the update of MACE (arXiv:2206.07697, eq. 12).

    The first layer has no skip term, so an atom without neighbours has zero features and its
    energy is exactly the reference energy. Its senders are species embeddings, which need no
    mixing.

    Args:
        convolution: the neighbour sum.
        l_edge: highest degree of A.
        l_in: highest degree of h.
        l_out: highest degree of h'.
        correlation: body order of the product.
        n_channels: channels.
        n_species: width of the species embedding.
        first: whether this is the first layer.
    """

    def __init__(
        self,
        *,
        convolution: Convolution,
        l_edge: int,
        l_in: int,
        l_out: int,
        correlation: int,
        n_channels: int,
        n_species: int,
        first: bool,
    ) -> None:
        super().__init__()
        self.sender = None if first else ChannelLinears(l_in + 1, n_channels)
        self.convolution = convolution
        self.product = SymmetricProduct(
            l_in=l_edge,
            degrees=tuple(range(l_out + 1)),
            correlation=correlation,
            n_channels=n_channels,
            n_species=n_species,
        )
        self.update = nn.ModuleList(ChannelLinear(n_channels, n_channels) for _ in range(l_out + 1))
        self.skip = None if first else ChannelLinears(min(l_in, l_out) + 1, n_channels)
        self.gain = None if first else ChannelLinear(n_species, n_channels)

    def forward(self, features: Tensor, edges: Edges, embedding: Tensor, species: Tensor) -> Tensor:
        """Maps features [n_atoms, (l_in+1)², c] to [n_atoms, (l_out+1)², c]."""
        senders = features if self.sender is None else self.sender(features)
        basis = self.convolution(senders, edges)
        products = self.product(basis.transpose(0, 1).contiguous(), embedding, species)
        updated = torch.cat(
            [linear(x) for linear, x in zip(self.update, products, strict=True)]
        ).transpose(0, 1)
        if self.skip is None or self.gain is None:
            return updated.contiguous()
        kept = self.skip(features[:, : self.skip.n_components])
        kept = kept * self.gain(embedding).index_select(0, species)[:, None]
        return torch.cat([updated[:, : kept.shape[1]] + kept, updated[:, kept.shape[1] :]], dim=1)


class ChannelLinears(nn.Module):
    """A `ChannelLinear` of its own for each degree, on node-first features.

    Args:
        n_degrees: l_max + 1.
        n_channels: channels in and out.
    """

    def __init__(self, n_degrees: int, n_channels: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(
            ChannelLinear(n_channels, n_channels) for _ in range(n_degrees)
        )
        self.n_components = n_degrees**2

    def forward(self, features: Tensor) -> Tensor:
        """Maps [n_atoms, n_degrees², c] to the same shape."""
        if len(self.linears) == 1:
            return self.linears[0](features)
        blocks = features.split([2 * l + 1 for l in range(len(self.linears))], dim=1)
        return torch.cat([linear(x) for linear, x in zip(self.linears, blocks, strict=True)], dim=1)
