"""A strictly local many-body toy potential: what fragment sums must reproduce exactly."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tlpot.graph import AtomGraph, segment_sum


@dataclass(frozen=True, kw_only=True)
class LocalToy:
    """E_a = −Z_a √(1 + Σ_b Z_b (1 − (r/R)²)³): no two terms of the sum can be told apart."""

    cutoff: float = 2.6
    elements: tuple[int, ...] = (1, 6, 7, 8, 16)
    uses_charge: bool = False

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        squares = (graph.edge_vectors() ** 2).sum(dim=1)
        numbers = graph.atomic_numbers.double()
        near = (1.0 - squares / self.cutoff**2).clamp(min=0.0) ** 3 * numbers[graph.neighbor]
        density = segment_sum(near, graph.center, graph.n_atoms)
        return -numbers * torch.sqrt(1.0 + density)
