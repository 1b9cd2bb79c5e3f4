"""Functions of the distance: a Bessel basis under a smooth envelope."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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
