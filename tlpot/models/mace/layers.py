"""What the interaction blocks of MACE have beside those of tlpot, non-linear ones included."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tlpot.errors import GeometryError
from tlpot.graph import AtomGraph
from tlpot.models.mace.architecture import MaceArchitecture, StateEmbedding
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
