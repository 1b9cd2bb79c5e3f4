"""One layer of message passing: neighbours, many-body product, update."""

from __future__ import annotations

from collections.abc import Sequence

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

    def forward(
        self,
        features: Sequence[Tensor],
        edges: Edges,
        embedding: Tensor,
        species: Tensor,
        table: Tensor | None = None,
    ) -> list[Tensor]:
        """Maps features [n_atoms, 2l+1, c], one for each degree to l_in, to those to l_out.

        Args:
            features: of the atoms.
            edges: the pairs.
            embedding: of the elements, [n_elements, n_species].
            species: index of each atom's element, [n_atoms].
            table: [n_elements, c], if the features are rows of it.
        """
        senders = features if self.sender is None else self.sender(features)
        if table is not None and self.convolution.prefers_elements(len(table), edges):
            basis = self.convolution.of_elements(table, species, edges)
        else:
            basis = self.convolution(senders, edges)
        products = self.product(basis, embedding, species, compiled=edges.lists is not None)
        updated = [linear(x) for linear, x in zip(self.update, products, strict=True)]
        if self.skip is None or self.gain is None:
            return updated
        gain = self.gain(embedding).index_select(0, species)[:, None]
        kept = self.skip(features)
        return [x + gain * y for x, y in zip(updated, kept, strict=False)] + updated[len(kept) :]


class ChannelLinears(nn.Module):
    """A `ChannelLinear` of its own for each degree.

    Args:
        n_degrees: l_max + 1.
        n_channels: channels in and out.
    """

    def __init__(self, n_degrees: int, n_channels: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(
            ChannelLinear(n_channels, n_channels) for _ in range(n_degrees)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps [n_atoms, 2l+1, c] for each degree to the same; further degrees are left out."""
        return [linear(x) for linear, x in zip(self.linears, features, strict=False)]
