"""From a graph to the invariant features of every atom, shared by all levels of theory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tlpot.graph import AtomGraph
from tlpot.kernels import Kernels
from tlpot.models.architecture import Architecture
from tlpot.nn.channels import ChannelLinear
from tlpot.nn.convolution import Convolution
from tlpot.nn.edges import EdgeEmbedding, Edges
from tlpot.nn.interaction import Interaction


class Backbone(nn.Module):
    """The equivariant network of MACE (arXiv:2206.07697), without its readouts.

    Args:
        architecture: sizes.
        kernels: who does the sums.
    """

    def __init__(self, architecture: Architecture, kernels: Kernels) -> None:
        super().__init__()
        a = architecture
        self.edges = EdgeEmbedding(a.l_max, a.cutoff, a.n_basis, a.envelope_power, kernels)
        self.species = nn.Parameter(torch.randn(len(a.elements), a.n_species))
        self.embedding = ChannelLinear(a.n_species, a.n_channels)
        self.charge_spin = nn.Parameter(torch.zeros(2, a.n_channels)) if a.charge_spin else None
        self.interactions = nn.ModuleList(_interaction(a, layer) for layer in range(a.n_layers))

    def forward(self, graph: AtomGraph, species: Tensor) -> tuple[list[Tensor], Edges]:
        """Returns the invariants of each layer, [n_atoms, c], and the embedded pairs.

        Args:
            graph: a batch.
            species: index of each atom's element, [n_atoms].
        """
        edges = self.edges(graph, self.species.dtype)
        elements = self.embedding(self.species)
        table: Tensor | None = elements
        features = elements.index_select(0, species)
        if self.charge_spin is not None:
            state = torch.stack([graph.charge, graph.spin - 1], dim=1).to(features)
            shift = state @ self.charge_spin
            features = features + shift.index_select(0, graph.system_idx)
            table = None
        degrees = [features[:, None]]
        scalars = []
        for interaction in self.interactions:
            degrees = interaction(degrees, edges, self.species, species, table)
            table = None
            scalars.append(degrees[0][:, 0])
        return scalars, edges


def _interaction(a: Architecture, layer: int) -> Interaction:
    l_in = 0 if layer == 0 else a.l_hidden
    return Interaction(
        convolution=Convolution(
            l_in=l_in,
            l_edge=a.l_max,
            l_out=a.l_max,
            n_channels=a.n_channels,
            n_basis=a.n_basis,
            radial_hidden=a.radial_hidden,
            avg_neighbors=a.avg_neighbors,
        ),
        l_edge=a.l_max,
        l_in=l_in,
        l_out=0 if layer == a.n_layers - 1 else a.l_hidden,
        correlation=a.correlation,
        n_channels=a.n_channels,
        n_species=a.n_species,
        first=layer == 0,
    )
