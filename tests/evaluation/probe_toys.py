"""Toy energy models and frames whose walls, drifts and dynamics are known in closed form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from ase.build import molecule
from torch import Tensor

from tlpot.data import Frame
from tlpot.graph import AtomGraph, segment_sum
from tlpot.system import System


def repulsion(r: Tensor) -> Tensor:
    """A purely repulsive wall, eV."""
    return 100.0 * torch.exp(-2.0 * r)


@dataclass(frozen=True, kw_only=True)
class PairToy:
    """E = Σ E0 + Σ_pairs pair(r) (1 − (r/r_c)²)⁴; `fades=False` leaves the last factor out."""

    pair: Callable[[Tensor], Tensor] = repulsion
    cutoff: float = 4.0
    elements: tuple[int, ...] = (1, 6, 7, 8)
    uses_charge: bool = False
    references: Mapping[int, float] = field(default_factory=dict)
    fades: bool = True

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        r = graph.edge_vectors().square().sum(dim=1).sqrt()
        fade = (1.0 - (r / self.cutoff) ** 2).clamp(min=0.0) ** 4 if self.fades else r < self.cutoff
        sums = segment_sum(0.5 * self.pair(r) * fade, graph.center, graph.n_atoms)
        free = [self.references.get(int(z), 0.0) for z in graph.atomic_numbers]
        return torch.tensor(free, dtype=torch.float64) + sums


def frames(names=("CH3OH", "H2O", "CH3OH"), seed=0, shake=0.05):
    rng = np.random.default_rng(seed)
    found = []
    for k, name in enumerate(names):
        atoms = molecule(name)
        atoms.positions += shake * rng.standard_normal(atoms.positions.shape)
        found.append(
            Frame(system=System.from_atoms(atoms), labels={}, group=name, name=f"toy:/{name}[{k}]")
        )
    return found
