"""From a graph to the invariant features of every atom, as a MACE of mace-torch makes them."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from tlpot.graph import AtomGraph, segment_sum
from tlpot.kernels import Kernels
from tlpot.models.mace.architecture import DistanceTransform, MaceArchitecture, PairRepulsion
from tlpot.models.mace.layers import (
    ElementOrder,
    MaceInteraction,
    NonlinearInteraction,
    StateEmbeddings,
)
from tlpot.nn import DoubleBuffer, EdgeEmbedding, Edges, Kept, envelope


class MaceBackbone(nn.Module):
    """A MACE (arXiv:2206.07697, arXiv:2401.00096) without its readouts.

    Args:
        architecture: sizes.
        kernels: who does the sums.
    """

    def __init__(self, architecture: MaceArchitecture, kernels: Kernels) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.edges = EdgeEmbedding(a.l_max, a.cutoff, a.n_basis, a.envelope_power, kernels)
        self.species = nn.Parameter(torch.randn(len(a.elements), a.n_channels))
        self.state = StateEmbeddings(a.embeddings, a.n_channels) if a.embeddings else None
        self.nonlinear = a.blocks[0] == "nonlinear"
        kind = NonlinearInteraction if self.nonlinear else MaceInteraction
        self.interactions = nn.ModuleList(kind(a, layer) for layer in range(a.n_layers))
        self._present: Tensor | None = None
        self._one_hot = Kept()
        self.radii = DoubleBuffer(torch.tensor(a.radii, dtype=torch.float64), saved=False)

    def initial(self, graph: AtomGraph, species: Tensor) -> Tensor:
        """Returns the features that the first layer gets, [n_atoms, c].

        Args:
            graph: a batch.
            species: index of each atom's element, [n_atoms].
        """
        features = self.species.index_select(0, species)
        if self.state is None:
            return features
        state: Tensor = self.state(graph)
        return features + state.index_select(0, graph.system_idx)

    def forward(self, graph: AtomGraph, species: Tensor) -> tuple[list[Tensor], Edges]:
        """Returns the invariants of each layer, [n_atoms, c], and the embedded pairs.

        Args:
            graph: a batch.
            species: index of each atom's element, [n_atoms].
        """
        edges = self.edges(graph, self.species.dtype)
        elements = ElementOrder.of(species, self._present)
        self._present = elements.index
        one_hot = self._one_hot.get(
            lambda: nn.functional.one_hot(elements.index, len(self.species)).to(self.species),
            elements.index,
            self.species,
        )
        features = [self.initial(graph, species)[:, None]]
        scalars = []
        radial, fading = self._radial(edges, species)
        embedded = replace(edges, radial=radial)
        for interaction in self.interactions:
            if self.nonlinear:
                features = interaction(features, embedded, fading, elements, one_hot)
            else:
                features = interaction(features, embedded, elements, one_hot)
            scalars.append(features[0][:, 0])
        return scalars, edges

    def _radial(self, edges: Edges, species: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the radial functions, and the envelope where they are without it."""
        a, dtype = self.architecture, self.species.dtype
        if a.transform is None and a.cutoff_in_basis:
            return edges.radial, None
        r = torch.linalg.vector_norm(edges.vectors, dim=1)
        u = r
        if a.transform is not None:
            radii = self.radii.value.index_select(0, species)
            between = radii.index_select(0, edges.center) + radii.index_select(0, edges.neighbor)
            u = transformed(r, between, a.transform)
        orders = torch.arange(1, a.n_basis + 1, dtype=u.dtype, device=u.device)
        fading = envelope(r, a.cutoff, a.envelope_power)
        amplitude = fading / u if a.cutoff_in_basis else 1.0 / u
        basis = torch.sin(u[:, None] * (orders * (math.pi / a.cutoff))) * amplitude[:, None]
        return basis.to(dtype), fading.to(dtype)


def transformed(r: Tensor, radii: Tensor, transform: DistanceTransform) -> Tensor:
    """Returns what stands for the distances in the radial functions, as `DistanceTransform` says.

    Args:
        r: distances, [n_edges], Å.
        radii: sum of the covalent radii of both ends, [n_edges], Å.
        transform: which, and its constants.
    """
    c = transform.constants
    if transform.kind == "agnesi":
        x = r / (0.5 * radii)
        return 1.0 / (1.0 + c["a"] * x ** c["q"] / (1.0 + x ** (c["q"] - c["p"])))
    near, far = 0.75 * radii, (4.0 / 3.0) * radii
    steepness = c["alpha"] / (far - near)
    switch = 0.5 * (1.0 + torch.tanh(steepness * (r - 0.5 * (near + far))))
    return near + (r - near) * switch


class MaceRepulsion(nn.Module):
    """The nuclear repulsion of MACE: other constants than tlpot's, and a longer reach.

    Args:
        elements: atomic numbers, in the order of the species indices.
        radii: covalent radii of the elements, Å.
        constants: see `PairRepulsion`.
    """

    def __init__(
        self, elements: tuple[int, ...], radii: tuple[float, ...], constants: PairRepulsion
    ) -> None:
        super().__init__()
        numbers = torch.tensor(elements, dtype=torch.float64)
        screening = numbers**constants.exponent / (constants.prefactor * _BOHR)
        ends = torch.tensor(radii, dtype=torch.float64)
        self.table = DoubleBuffer(torch.stack([numbers, screening, ends]), saved=False)
        self.constants = constants
        self.exponents, self.coulomb = _EXPONENTS, _COULOMB

    def forward(self, edges: Edges, species: Tensor) -> Tensor:
        """Returns each atom's half share of its pairs, [n_atoms], eV, float64."""
        numbers, screening, radii = self.table.value.index_select(1, species)
        distances = torch.linalg.vector_norm(edges.vectors, dim=1)
        ends = radii.index_select(0, edges.center) + radii.index_select(0, edges.neighbor)
        near = (distances < ends).nonzero()[:, 0]  # few of all pairs
        i, j = edges.center.index_select(0, near), edges.neighbor.index_select(0, near)
        r = distances.index_select(0, near)
        x = r * (screening[i] + screening[j])
        terms = zip(self.constants.coefficients, self.exponents, strict=True)
        phi = sum(c * torch.exp(-k * x) for c, k in terms)
        faded = envelope(r, ends.index_select(0, near), self.constants.power)
        pair = self.coulomb * numbers[i] * numbers[j] / r * phi * faded
        return 0.5 * segment_sum(pair, i, edges.n_atoms)


_BOHR, _COULOMB = 0.529, 14.3996
"""Å and eV Å, as mace-torch has them."""
_EXPONENTS = (3.2, 0.9423, 0.4028, 0.2016)
