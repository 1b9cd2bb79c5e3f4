"""What every layer needs to know of the neighbour pairs, computed once for each evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlpot.graph import AtomGraph
from tlpot.kernels import MAX_DEGREE, EdgeLists, EmbeddingPlan, Kernels, embed
from tlpot.nn.constant import DoubleBuffer
from tlpot.nn.contraction import contract
from tlpot.nn.couplings import harmonic_monomials, harmonic_polynomials
from tlpot.nn.radial import BesselBasis
from tlpot.padding import Blocks


@dataclass(frozen=True, kw_only=True, slots=True)
class Edges:
    """Directed pairs in the model's precision.

    Attributes:
        vectors: [n_edges, 3], Å, float64.
        harmonics: [n_edges, (l_max + 1)²], component-normalised real spherical harmonics.
        radial: [n_edges, n_basis]; zero, with its derivatives, from the cutoff on.
        center: [n_edges].
        neighbor: [n_edges].
        n_atoms: number of atoms.
        blocks: the shapes of the padded layout, else None.
        kernels: who does the sums.
        lists: the pairs by both ends, for the compiled kernels; None if torch does the sums.
        once: see `AtomGraph`.
    """

    vectors: Tensor
    harmonics: Tensor
    radial: Tensor
    center: Tensor
    neighbor: Tensor
    n_atoms: int
    blocks: Blocks | None
    kernels: Kernels
    lists: EdgeLists | None
    once: bool

    def distances(self) -> Tensor:
        """Returns the lengths of the pairs in the model's precision, [n_edges], Å."""
        return torch.linalg.vector_norm(self.vectors.to(self.radial.dtype), dim=1)

    def contract(self, angular: Tensor, features: Tensor) -> Tensor:
        """Returns Σ_j Σ_k angular_ij[k, m] · features_ij[k, c] for each atom i.

        In the padded layout this is a batched matrix product over neighbours and k together for
        each block, and no message [n_edges, m, c] ever exists.

        Args:
            angular: [n_edges, k, m].
            features: [n_edges, k, c].

        Returns:
            [n_atoms, m, c].
        """
        if self.blocks is None:
            messages = torch.bmm(angular.mT, features)
            return self.kernels.segment_sum(messages, self.center, self.n_atoms)
        return contract(angular, features, self.blocks)

    def sum(self, values: Tensor) -> Tensor:
        """Sums a number per edge, [n_edges], over the neighbours: [n_atoms]."""
        return self.kernels.segment_sum(values, self.center, self.n_atoms)


class Harmonics(nn.Module):
    """Component-normalised real spherical harmonics of unit vectors, up to a degree.

    Args:
        l_max: highest degree.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.polynomials = DoubleBuffer(harmonic_polynomials(l_max), saved=False)
        monomials = harmonic_monomials(l_max)
        place = {monomial: k for k, monomial in enumerate(monomials)}
        self._factors = [(place[m[:-1]], m[-1]) for m in monomials[1:]]

    def forward(self, vectors: Tensor) -> Tensor:
        """Returns [n_edges, (l_max + 1)²] for unit vectors [n_edges, 3], both in float64."""
        axes = vectors.unbind(dim=1)
        monomials = [torch.ones_like(axes[0])]
        for lower, axis in self._factors:
            monomials.append(axes[axis] * monomials[lower] if lower else axes[axis])
        return torch.stack(monomials, dim=1) @ self.polynomials.value.T


class EdgeEmbedding(nn.Module):
    """Distances, spherical harmonics and radial basis of all pairs of a graph.

    Args:
        l_max: highest degree of the harmonics.
        cutoff: Å.
        n_basis: number of radial functions.
        power: of the envelope.
        kernels: who does the sums.
    """

    def __init__(
        self, l_max: int, cutoff: float, n_basis: int, power: int, kernels: Kernels
    ) -> None:
        super().__init__()
        self.harmonics = Harmonics(l_max)
        self.radial = BesselBasis(cutoff, n_basis, power)
        self.l_max, self.kernels = l_max, kernels
        self.plan = None
        if l_max <= MAX_DEGREE:
            self.plan = EmbeddingPlan(harmonic_polynomials(l_max), cutoff, n_basis, power)

    def forward(self, graph: AtomGraph, dtype: torch.dtype) -> Edges:
        """Embeds the pairs in float64 and rounds to `dtype`, the precision of the model."""
        compiled = self.kernels.compiled(graph.positions.device, dtype, self.l_max)
        lists = None
        if compiled and self.plan is not None:
            graph = graph.by_center()
            vectors = graph.edge_vectors()
            lists = EdgeLists.of(graph.center, graph.neighbor, graph.n_atoms, dtype)
            harmonics, radial = embed(self.plan, vectors, dtype)
        else:
            vectors = graph.edge_vectors()
            distances = torch.linalg.vector_norm(vectors, dim=1)
            harmonics = self.harmonics(vectors / distances[:, None]).to(dtype)
            radial = self.radial(distances).to(dtype)
        return Edges(
            vectors=vectors,
            harmonics=harmonics,
            radial=radial,
            center=graph.center,
            neighbor=graph.neighbor,
            n_atoms=graph.n_atoms,
            blocks=graph.blocks,
            kernels=self.kernels,
            lists=lists,
            once=graph.once,
        )
