"""The non-linear interaction blocks of MACE-OMOL and MACE-MH, and embeddings of charge and spin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from tlpot.errors import GeometryError
from tlpot.graph import AtomGraph
from tlpot.models.mace.architecture import MaceArchitecture, StateEmbedding
from tlpot.models.mace.layers import ElementOrder
from tlpot.nn import ChannelLinear, Convolution, Edges, Kept, SymmetricProduct


class PairNetwork(nn.Module):
    """Linear layers with biases, layer norms and SiLU between, on a pair's functions and elements.

    It reads radial functions and envelope, [n_edges, n_basis + 1], and, as tags, what the elements
    of both ends give to the first layer; the envelope multiplies the result.

    Args:
        n_basis: radial functions.
        n_elements: rows of the tables.
        widths: hidden widths.
        n_out: width of the result.
    """

    def __init__(self, n_basis: int, n_elements: int, widths: Sequence[int], n_out: int) -> None:
        super().__init__()
        self.n_basis, self.n_hidden = n_basis, widths[-1] + 1
        self.of_basis = ChannelLinear(n_basis, widths[0])
        self.of_neighbor = nn.Parameter(torch.randn(n_elements, widths[0]))
        self.of_center = nn.Parameter(torch.zeros(n_elements, widths[0]))
        self.norms = nn.ModuleList(nn.LayerNorm(n) for n in widths)
        pairs = zip(widths, [*widths[1:], n_out], strict=True)
        self.layers = nn.ModuleList(ChannelLinear(a, b) for a, b in pairs)
        self.biases = nn.ParameterList(torch.zeros(n) for n in [*widths[1:], n_out])
        self._kept = Kept()

    def tags(self, edges: Edges, species: Tensor) -> Tensor:
        """Returns what the elements of all pairs give to the first layer, [n_edges, n_first]."""
        i, j = species.index_select(0, edges.center), species.index_select(0, edges.neighbor)
        n = len(self.of_center)
        both = self.of_neighbor[:, None] + self.of_center
        return both.flatten(0, 1).index_select(0, j * n + i)

    def hidden(self, x: Tensor, tags: Tensor) -> Tensor:
        """Maps radial functions and envelope to what enters the last layer and its bias."""
        basis, envelope = x.split([self.n_basis, 1], dim=1)
        y = torch.addmm(tags, basis, self.of_basis.matrix())
        steps = zip(self.norms, self.layers, self.biases, strict=True)
        for k, (norm, layer, bias) in enumerate(steps):
            y = nn.functional.silu(norm(y))
            if k < len(self.layers) - 1:
                y = torch.addmm(bias, y, layer.matrix())  # type: ignore[operator]
        return torch.cat([y * envelope, envelope], dim=1)

    def last(self) -> Tensor:
        """Returns the last layer as a matrix, its bias below, [n_hidden, n_out]."""
        layer: ChannelLinear = self.layers[-1]  # type: ignore[assignment]
        bias = self.biases[-1]
        return self._kept.get(lambda: torch.cat([layer.matrix(), bias[None]]), layer.weight, bias)

    def forward(self, x: Tensor, tags: Tensor) -> Tensor:
        """Maps radial functions and envelope to [n_edges, n_out]."""
        return self.hidden(x, tags) @ self.last()


class NonlinearInteraction(nn.Module):
    """``RealAgnosticResidualNonLinearInteractionBlock`` with the product that follows it.

    The neighbour sums, divided by α + β · density, are added to a map of the atom's own features,
    go through SiLU and gates, and are mixed. The radial network sees the elements of both ends.

    Args:
        architecture: sizes.
        layer: which of its blocks.
    """

    def __init__(self, architecture: MaceArchitecture, layer: int) -> None:
        super().__init__()
        a, c, n = architecture, architecture.n_channels, len(architecture.elements)
        l_in = 0 if layer == 0 else a.l_hidden
        l_out = 0 if layer == a.n_layers - 1 else a.l_hidden
        sent, degree = a.edge_channels[layer], min(a.edge_degrees[layer], l_in)
        outs = [c * (1 + a.l_max)] + [c] * a.l_max
        self.sender = nn.ModuleList(ChannelLinear(c, sent) for _ in range(degree + 1))
        self.convolution = Convolution(
            l_in=degree, l_edge=a.l_max, l_out=a.l_max, n_channels=sent, n_basis=1,
            radial_hidden=(), avg_neighbors=1.0, n_out=c,
        )  # fmt: skip
        n_weights = len(self.convolution.paths) * sent
        self.convolution.radial = PairNetwork(a.n_basis, n, a.radial_hidden, n_weights)
        self.convolution.mix = nn.ModuleList(
            ChannelLinear(f, o) for f, o in zip(self.convolution.fan_in, outs, strict=True)
        )
        self.density = PairNetwork(a.n_basis, n, (DENSITY_HIDDEN,), 1)
        self.alpha = nn.Parameter(torch.tensor(a.avg_neighbors[layer]))
        self.beta = nn.Parameter(torch.tensor(0.0))
        self.residual = nn.ModuleList(ChannelLinear(sent, outs[l]) for l in range(degree + 1))
        self.gated = nn.ModuleList(ChannelLinear(c, c) for _ in range(a.l_max + 1))
        self.product = SymmetricProduct(
            l_in=a.l_max, degrees=tuple(range(l_out + 1)), correlation=a.correlation[layer],
            n_channels=c, n_species=1 if a.agnostic_product else n,
        )  # fmt: skip
        self.update = nn.ModuleList(ChannelLinear(c, c) for _ in range(l_out + 1))
        self.skip = nn.ModuleList(ChannelLinear(c, c) for _ in range(min(l_in, l_out) + 1))
        self.n_channels, self.agnostic = c, a.agnostic_product

    def forward(
        self,
        features: Sequence[Tensor],
        edges: Edges,
        envelope: Tensor,
        elements: ElementOrder,
        one_hot: Tensor,
    ) -> list[Tensor]:
        """Maps features [n_atoms, 2l+1, c], one for each degree, to those of the next layer.

        Args:
            features: of the atoms.
            edges: the pairs.
            envelope: of each pair, [n_edges].
            elements: of the atoms.
            one_hot: of the elements that occur, [n_present, n_elements].
        """
        senders = [up(x) for up, x in zip(self.sender, features, strict=False)]
        network: PairNetwork = self.convolution.radial
        inputs = torch.cat([edges.radial, envelope[:, None]], dim=1)
        tags = network.tags(edges, elements.species)
        sums = self.convolution.sums(senders, replace(edges, radial=inputs, tags=tags))
        # here the envelope stands outside of the square
        inputs = torch.cat([edges.radial, torch.ones_like(envelope)[:, None]], dim=1)
        tags = self.density.tags(edges, elements.species)
        density = torch.tanh(self.density(inputs, tags)[:, 0] ** 2) * envelope
        divisor = (edges.sum(density) * self.beta + self.alpha)[:, None, None]
        mixed = [mix(s) / divisor for mix, s in zip(self.convolution.mix, sums, strict=True)]
        own = [residual(x) for residual, x in zip(self.residual, senders, strict=True)]
        mixed = [x + y for x, y in zip(mixed, own, strict=False)] + mixed[len(own) :]
        scalars, *gates = mixed[0].split(self.n_channels, dim=2)
        opened = [x * torch.sigmoid(gate) for x, gate in zip(mixed[1:], gates, strict=True)]
        mixed = [nn.functional.silu(scalars), *opened]
        basis = [linear(x) for linear, x in zip(self.gated, mixed, strict=True)]
        species = elements.local
        if self.agnostic:
            species, one_hot = torch.zeros_like(species), one_hot.new_ones((1, 1))
        products = self.product(basis, one_hot, species, compiled=edges.lists is not None)
        updated = [linear(x) for linear, x in zip(self.update, products, strict=True)]
        kept = [skip(x) for skip, x in zip(self.skip, features, strict=False)]
        return [x + y for x, y in zip(updated, kept, strict=False)] + updated[len(kept) :]


DENSITY_HIDDEN = 64
"""Width of the hidden layer of the density's network in mace-torch."""


class StateEmbeddings(nn.Module):
    """What total charge and multiplicity add to the features of every atom of a structure.

    Args:
        embeddings: tables.
        n_channels: width of the features.
    """

    def __init__(self, embeddings: Sequence[StateEmbedding], n_channels: int) -> None:
        super().__init__()
        self.embeddings = tuple(embeddings)
        self.tables = nn.ParameterList(torch.randn(e.classes, e.width) for e in embeddings)
        self.project = ChannelLinear(sum(e.width for e in embeddings), n_channels)

    def forward(self, graph: AtomGraph) -> Tensor:
        """Returns [n_systems, n_channels].

        Raises:
            GeometryError: a charge or multiplicity outside of the tables.
        """
        values = {"total_charge": graph.charge, "total_spin": graph.spin}
        rows = []
        for embedding, table in zip(self.embeddings, self.tables, strict=True):
            index = values[embedding.quantity].long() + embedding.offset
            outside = (index < 0) | (index >= embedding.classes)
            if bool(outside.any()):
                k = int(outside.nonzero()[0])
                low, high = -embedding.offset, embedding.classes - 1 - embedding.offset
                raise GeometryError(
                    f"structure {k} has {embedding.quantity.replace('_', ' ')} "
                    f"{int(values[embedding.quantity][k])}, but the model was made for {low} to "
                    f"{high}"
                )
            rows.append(table.index_select(0, index))
        return nn.functional.silu(self.project(torch.cat(rows, dim=1)))
