"""What layers know of the neighbour pairs: directions, functions of the distance, repulsion."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from ase import units
from ase.data import covalent_radii
from torch import Tensor, nn

from tlpot.bond_thresholds import REPULSION_REACH
from tlpot.graph import AtomGraph, Blocks
from tlpot.kernels import MAX_DEGREE, EdgeLists, EmbeddingPlan, Kernels, embed
from tlpot.nn.couplings import Constant, DoubleBuffer, harmonic_monomials, harmonic_polynomials

Sizes = tuple[tuple[int, int], ...]

_EXPONENTS = (3.1998, 0.94229, 0.4029, 0.20162)
_COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
_BOHR_FACTOR = 0.88534


def envelope(distances: Tensor, cutoff: float | Tensor, power: int) -> Tensor:
    """Returns the polynomial cutoff of Gasteiger et al. (arXiv:2003.03123, eq. 8).

    It is 1 at r = 0, where `power` − 1 derivatives vanish, and falls to 0 as (1 − r/r_c)³, with
    two vanishing derivatives at the cutoff; beyond it is 0.

    Args:
        distances: any shape, Å.
        cutoff: Å.
        power: p.
    """
    p = float(power)
    u = (distances / cutoff).clamp(max=1.0)
    up = u**power
    return (
        1.0
        - 0.5 * (p + 1.0) * (p + 2.0) * up
        + p * (p + 2.0) * up * u
        - 0.5 * p * (p + 1.0) * up * u * u
    )


class BesselBasis(nn.Module):
    """b_n(r) = sin(nπr/r_c)/r · envelope(r) (arXiv:2003.03123, eq. 7).

    Without the factor √(2/r_c) the functions are of order 1 Å⁻¹ at bond lengths.

    Args:
        cutoff: r_c, Å.
        n_basis: number of functions.
        power: see `envelope`.
    """

    def __init__(self, cutoff: float, n_basis: int, power: int) -> None:
        super().__init__()
        self.cutoff, self.power = cutoff, power
        self.n_basis = n_basis

    def forward(self, distances: Tensor) -> Tensor:
        """Maps [n_edges] (Å) to [n_edges, n_basis], in the precision of the distances."""
        orders = torch.arange(1, self.n_basis + 1, dtype=distances.dtype, device=distances.device)
        weight = envelope(distances, self.cutoff, self.power) / distances
        return torch.sin(distances[:, None] * (orders * (math.pi / self.cutoff))) * weight[:, None]


def contract(angular: Tensor, features: Tensor, blocks: Blocks) -> Tensor:
    """Returns out[i, m, c] = Σ_{e of i} Σ_k angular[e, k, m] · features[e, k, c].

    Args:
        angular: [n_slots, k, m].
        features: [n_slots, k, c].
        blocks: which slots are whose.

    Returns:
        [n_atoms, m, c], in the order of the atoms.
    """
    sums: Tensor = _Contract.apply(angular, features, blocks.sizes)
    return sums if blocks.place is None else sums.index_select(0, blocks.place)


class _Contract(torch.autograd.Function):
    """Writes the product of every block into its place, where split and cat would copy."""

    @staticmethod
    def forward(ctx: Any, angular: Tensor, features: Tensor, sizes: Sizes) -> Tensor:
        ctx.save_for_backward(angular, features)
        ctx.sizes = sizes
        n_atoms = sum(n for n, _ in sizes)
        out = features.new_empty((n_atoms, angular.shape[2], features.shape[2]))
        for atoms, left, right in _pairs(sizes, angular, features):
            torch.bmm(left.mT, right, out=out[atoms])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        angular, features = ctx.saved_tensors
        return (
            _Spread.apply(features, grad.mT, ctx.sizes) if ctx.needs_input_grad[0] else None,
            _Spread.apply(angular, grad, ctx.sizes) if ctx.needs_input_grad[1] else None,
            None,
        )


class _Spread(torch.autograd.Function):
    """out[e, k, c] = Σ_m values[e, k, m] · of_atom[i(e), m, c]."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, of_atom: Tensor, sizes: Sizes) -> Tensor:
        ctx.save_for_backward(values, of_atom)
        ctx.sizes = sizes
        out = values.new_empty((*values.shape[:2], of_atom.shape[2]))
        for atoms, left, to in _pairs(sizes, values, out):
            torch.bmm(left, of_atom[atoms], out=to)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        values, of_atom = ctx.saved_tensors
        return (
            _Spread.apply(grad, of_atom.mT, ctx.sizes) if ctx.needs_input_grad[0] else None,
            _Contract.apply(values, grad, ctx.sizes) if ctx.needs_input_grad[1] else None,
            None,
        )


def _pairs(sizes: Sizes, a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Gives for every block its atoms, and a and b as [atoms, slots · k, …]."""
    atom = edge = 0
    for n_atoms, slots in sizes:
        edges = slice(edge, edge + n_atoms * slots)
        rows = (n_atoms, slots * a.shape[1], -1)
        yield slice(atom, atom + n_atoms), a[edges].reshape(rows), b[edges].reshape(rows)
        atom, edge = atom + n_atoms, edges.stop


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
        first_order: see `AtomGraph`.
        tags: what a radial network reads beside `radial`, [n_edges, n]; mostly None. Without
            gradient where `first_order` is set.
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
    first_order: bool
    tags: Tensor | None = None

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
            first_order=graph.first_order,
        )


class ZBLRepulsion(nn.Module):
    """The universal potential of Ziegler, Biersack and Littmark (doi:10.1007/978-1-4615-8103-1_3).

    E_ij = k Z_i Z_j / r · φ(r/a), a = 0.88534 a₀ / (Z_i^0.23 + Z_j^0.23), faded out by an
    envelope that ends at 0.75 times the sum of the covalent radii, inside of any bond.

    Args:
        elements: atomic numbers, in the order of the species indices.
        power: of the envelope.
    """

    def __init__(self, elements: tuple[int, ...], power: int) -> None:
        super().__init__()
        numbers = torch.tensor(elements, dtype=torch.float64)
        self.numbers = Constant(numbers)
        self.radii = Constant(torch.tensor([covalent_radii[z] for z in elements]))
        self.screening = Constant(numbers**0.23 / (_BOHR_FACTOR * units.Bohr))
        self.coulomb = units.Hartree * units.Bohr
        self.power = power
        self.exponents, self.coefficients = _EXPONENTS, _COEFFICIENTS

    def forward(self, edges: Edges, species: Tensor) -> Tensor:
        """Returns each atom's half share of its pairs, [n_atoms], eV."""
        i, j = species.index_select(0, edges.center), species.index_select(0, edges.neighbor)
        numbers, radii, screening = self.numbers(), self.radii(), self.screening()
        r = edges.distances()
        x = r * (screening[i] + screening[j])
        terms = zip(self.exponents, self.coefficients, strict=True)
        phi = sum(c * torch.exp(-a * x) for a, c in terms)
        faded = envelope(r, REPULSION_REACH * (radii[i] + radii[j]), self.power)
        pair = self.coulomb * numbers[i] * numbers[j] / r * phi * faded
        return 0.5 * edges.sum(pair)
