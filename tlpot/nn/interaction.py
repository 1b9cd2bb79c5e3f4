"""One layer of message passing: sums over neighbours, many-body products, update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from tlpot.kernels import (
    ConvolutionPlan,
    ProductPlan,
    convolve,
    convolve_in_parts,
    multiply,
    sum_by_element,
    sum_by_element_in_parts,
)
from tlpot.nn.channels import ChannelLinear, ChannelMLP, Kept
from tlpot.nn.couplings import (
    Constant,
    Monomial,
    ProductBasis,
    clebsch_gordan,
    convolution_paths,
    product_basis,
)
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


class SymmetricProduct(nn.Module):
    """B_i^{LMc} = Σ_ν Σ_η W^{ν}_{z_i ηc} Σ_{lm} C^{LM}_{η,lm} Π_ξ A_i^{l_ξ m_ξ c}.

    The symmetric contraction of MACE (arXiv:2206.07697, eq. 10–11). Every monomial that does
    not vanish is formed once, by a gather and a product, and all couplings of one order are
    one dense matrix product over atoms and channels together. The weights of an element are a
    linear function of its embedding.

    Args:
        l_in: highest degree of A.
        degrees: the degrees L of the result.
        correlation: highest order ν, 1 to 3.
        n_channels: channels.
        n_species: width of the species embedding.
    """

    def __init__(
        self,
        *,
        l_in: int,
        degrees: tuple[int, ...],
        correlation: int,
        n_channels: int,
        n_species: int,
    ) -> None:
        super().__init__()
        self.degrees, self.n_channels = degrees, n_channels
        orders = range(1, correlation + 1)
        bases = {(v, L): product_basis(l_in, L, v) for v in orders for L in degrees}
        self.n_paths = {key: basis.n_paths for key, basis in bases.items()}
        total = {L: sum(bases[v, L].n_paths for v in orders) for L in degrees}
        pairs = sorted({m for (v, _), b in bases.items() if v == 2 for m in b.monomials})
        triples = sorted({m for (v, _), b in bases.items() if v == 3 for m in b.monomials})
        pairs = sorted(set(pairs) | {t[:2] for t in triples})
        tables: list[list[Monomial]] = [[(k,) for k in range((l_in + 1) ** 2)], pairs, triples]
        self.couplings = nn.ModuleList(
            Constant(_stack([bases[v, L] for L in degrees], tables[v - 1], total)) for v in orders
        )
        self.gathers = nn.ModuleList()
        if correlation >= 2:
            first, second = np.array(pairs).T
            self.gathers.append(_Gather(first, second))
        if correlation >= 3:
            place = {pair: k for k, pair in enumerate(pairs)}
            self.gathers.append(
                _Gather(
                    np.array([place[t[:2]] for t in triples]), np.array([t[2] for t in triples])
                )
            )
        self.weights = ChannelLinear(n_species, sum(self.n_paths.values()) * n_channels)
        terms = sorted({term for basis in bases.values() for term in _terms(basis)})
        self.plan = ProductPlan(terms, l_in + 1, len(degrees), n_channels)
        self.expansion = Constant(_expansion(bases, self.plan.order, total))
        self._coefficients = Kept()

    def forward(
        self,
        basis: Sequence[Tensor],
        embedding: Tensor,
        species: Tensor,
        *,
        compiled: bool = False,
    ) -> list[Tensor]:
        """Forms the products.

        Args:
            basis: A, [n_atoms, 2l+1, c] for each degree.
            embedding: of the elements, [n_elements, n_species].
            species: index of each atom's element, [n_atoms].
            compiled: let the compiled kernels do it.

        Returns:
            B, likewise.
        """
        if compiled:
            return multiply(self.plan, self.coefficients(embedding), species, basis)
        factors = torch.cat(list(basis), dim=1).transpose(0, 1).contiguous()
        _, n_atoms, c = factors.shape
        weights = iter(
            self._table(embedding)
            .transpose(0, 1)
            .index_select(1, species)
            .split(list(self.n_paths.values()))
        )
        products = factors
        results: list[list[Tensor]] = [[] for _ in self.degrees]
        for order, couplings in enumerate(self.couplings, start=1):
            if order > 1:
                products = self.gathers[order - 2](products, factors)
            coupled = couplings() @ products.reshape(len(products), -1)
            blocks = coupled.split([self.n_paths[order, L] * (2 * L + 1) for L in self.degrees])
            for k, (degree, block) in enumerate(zip(self.degrees, blocks, strict=True)):
                by_path = block.view(-1, 2 * degree + 1, n_atoms, c)
                results[k].append((by_path * next(weights)[:, None]).sum(dim=0))
        return [torch.stack(r).sum(dim=0).transpose(0, 1) for r in results]

    def coefficients(self, embedding: Tensor) -> Tensor:
        """Returns that of each term for each element, [n_elements, n_terms, c], see `plan`."""
        expansion = self.expansion()
        return self._coefficients.get(
            lambda: expansion @ self._table(embedding), self.weights.weight, embedding, expansion
        )

    def _table(self, embedding: Tensor) -> Tensor:
        """Returns the weight of each path for each element, [n_elements, n_paths, c]."""
        return self.weights(embedding).view(len(embedding), -1, self.n_channels)


class _Gather(nn.Module):
    """Products of rows: left[i] · right[j] for given pairs (i, j)."""

    left: Tensor
    right: Tensor

    def __init__(self, left: np.ndarray, right: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("left", torch.as_tensor(left), persistent=False)
        self.register_buffer("right", torch.as_tensor(right), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a.index_select(0, self.left) * b.index_select(0, self.right)


def _terms(basis: ProductBasis) -> list[tuple[Monomial, int]]:
    """Lists which monomial adds to which component of the result, L² + m."""
    monomials, components = np.nonzero(np.abs(basis.coefficients).max(axis=0).T > 1e-12)
    first = basis.degree**2
    return [
        (basis.monomials[m], first + int(c)) for m, c in zip(monomials, components, strict=True)
    ]


def _expansion(
    bases: dict[tuple[int, int], ProductBasis],
    terms: list[tuple[Monomial, int]],
    n_paths: dict[int, int],
) -> np.ndarray:
    """Returns [n_terms, Σ n_paths]: what each path gives to the coefficient of each term."""
    place = {term: k for k, term in enumerate(terms)}
    blocks = []
    for (_, degree), basis in bases.items():
        block = np.zeros((len(terms), basis.n_paths))
        for monomial, component in _terms(basis):
            column = basis.monomials.index(monomial)
            values = basis.coefficients[:, component - degree**2, column]
            block[place[monomial, component]] = values / math.sqrt(n_paths[degree])
        blocks.append(block)
    return np.concatenate(blocks, axis=1)


def _stack(bases: list[ProductBasis], table: list[Monomial], n_paths: dict[int, int]) -> np.ndarray:
    """Returns [Σ_L n_paths (2L+1), n_monomials], of unit variance when summed over paths."""
    column = {monomial: k for k, monomial in enumerate(table)}
    rows = []
    for basis in bases:
        block = np.zeros((basis.n_paths * (2 * basis.degree + 1), len(table)))
        columns = [column[m] for m in basis.monomials]
        block[:, columns] = basis.coefficients.reshape(len(block), -1)
        rows.append(block / math.sqrt(n_paths[basis.degree]))
    return np.concatenate(rows)


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
