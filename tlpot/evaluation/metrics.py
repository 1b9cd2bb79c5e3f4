"""Errors of energies, forces and stresses, accumulated over batches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tlpot.data import Targets
from tlpot.energy import Properties

_KINDS = ("energy", "energy_per_atom", "forces", "stress")


@dataclass(kw_only=True, slots=True)
class Metrics:
    """Sums over all labels seen so far.

    Attributes:
        sums: [4, 3]; for energy, energy per atom, forces, stress: Σ|e|, Σe², count; in eV and Å.
    """

    sums: Tensor = field(default_factory=lambda: torch.zeros(4, 3, dtype=torch.float64))

    def add(self, properties: Properties, targets: Targets, sizes: Tensor) -> None:
        """Takes in a batch; absent labels and properties are passed over."""
        energy = properties.energy - targets.energy
        rows: list[tuple[Tensor | None, Tensor]] = [
            (energy, targets.energy),
            (energy / sizes, targets.energy),
            (
                None if properties.forces is None else properties.forces - targets.forces,
                targets.forces,
            ),
            (
                None if properties.stress is None else properties.stress - targets.stress,
                targets.stress,
            ),
        ]
        for row, (error, target) in enumerate(rows):
            if error is not None:
                known = error.detach()[target.isfinite()]
                count = known.new_tensor(float(known.numel()))
                self.sums[row] += torch.stack(
                    [known.abs().sum(), known.square().sum(), count]
                ).cpu()

    def merge(self, other: Metrics) -> None:
        """Takes in what another set has seen."""
        self.sums += other.sums

    def table(self) -> dict[str, float]:
        """Returns MAE and RMSE in meV and Å for what has labels, and the number of energies."""
        result: dict[str, float] = {"n_energies": self.sums[0, 2].item()}
        for kind, (absolute, square, count) in zip(_KINDS, self.sums.tolist(), strict=True):
            if count:
                result[f"{kind}_mae"] = 1e3 * absolute / count
                result[f"{kind}_rmse"] = 1e3 * math.sqrt(square / count)
        return result
