"""Screened nuclear repulsion: keeps atoms apart where no training data is."""

from __future__ import annotations

import torch
from ase import units
from ase.data import covalent_radii
from torch import Tensor, nn

from tlpot.nn.couplings import Constant
from tlpot.nn.edges import Edges, envelope
from tlpot.nn.repulsion_reach import REACH

_EXPONENTS = (3.1998, 0.94229, 0.4029, 0.20162)
_COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
_BOHR_FACTOR = 0.88534


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

    def forward(self, edges: Edges, species: Tensor) -> Tensor:
        """Returns each atom's half share of its pairs, [n_atoms], eV."""
        i, j = species.index_select(0, edges.center), species.index_select(0, edges.neighbor)
        numbers, radii, screening = self.numbers(), self.radii(), self.screening()
        r = edges.distances()
        x = r * (screening[i] + screening[j])
        phi = sum(c * torch.exp(-a * x) for a, c in zip(_EXPONENTS, _COEFFICIENTS, strict=True))
        faded = envelope(r, REACH * (radii[i] + radii[j]), self.power)
        pair = self.coulomb * numbers[i] * numbers[j] / r * phi * faded
        return 0.5 * edges.sum(pair)
