"""Small differentiable energy models that stand in for trained ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tlpot.graph import AtomGraph, segment_sum

E0 = {1: -1.25, 6: -3.5, 7: -4.75, 8: -6.125, 29: -2.0}
"""Exact in binary, so that sums are too."""


@dataclass(frozen=True, kw_only=True)
class ToyModel:
    """Morse-like pairs and an embedding term: E_i = E0 + ½ Σ φ(r) − ½ tanh(ρ²).

    Both fade with the envelope (1 − (r/r_c)²)⁴, three times differentiable at the cutoff.
    """

    cutoff: float = 3.5
    elements: tuple[int, ...] = tuple(E0)
    uses_charge: bool = False
    dtype: torch.dtype = torch.float64

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        vectors = graph.edge_vectors().to(self.dtype)
        squares = (vectors**2).sum(dim=1)
        numbers = graph.atomic_numbers.to(self.dtype)
        size = 0.9 + 0.02 * (numbers[graph.center] + numbers[graph.neighbor])
        fade = (1.0 - squares / self.cutoff**2).clamp(min=0.0) ** 4
        well = torch.exp(1.0 - squares / size**2)
        pair = fade * (well**2 - 2.0 * well)
        density = 0.3 * fade * (1.0 + 0.05 * numbers[graph.neighbor])
        sums = segment_sum(torch.stack([pair, density], 1), graph.center, graph.n_atoms)
        energies = 0.5 * sums[:, 0] - 0.5 * torch.tanh(sums[:, 1] ** 2)
        if self.uses_charge:
            state = (graph.charge + 0.1 * (graph.spin - 1)).to(self.dtype)
            energies = energies + 0.1 * state[graph.system_idx] * sums[:, 1]
        references = torch.tensor([E0[int(z)] for z in graph.atomic_numbers], dtype=torch.float64)
        return references + energies.double()
