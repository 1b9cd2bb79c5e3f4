"""The many-body product basis: symmetric products of an atom's own features."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tlpot.kernels import ProductPlan, multiply
from tlpot.nn.channels import ChannelLinear, Kept
from tlpot.nn.couplings import Constant, Monomial, ProductBasis, product_basis


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
