"""Errors of a model on the fragments themselves, caps included, before anything is added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlpot.calculators import FragmentCalculator
from tlpot.fragments import Partition, TypedBatch, TypedModel, fragment_name
from tlpot.jobs import used_coefficients


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentErrors:
    """Model minus reference for each fragment with a coefficient other than 0.

    Attributes:
        names: [n_fragments].
        sizes: [n_fragments], atoms with caps.
        energy: [n_fragments], eV.
        forces: [n_fragments] arrays of [n, 3], eV/Å.
    """

    names: tuple[str, ...]
    sizes: NDArray[np.int64]
    energy: NDArray[np.float64]
    forces: tuple[NDArray[np.float64], ...]

    @classmethod
    def joined(cls, several: Sequence[FragmentErrors]) -> FragmentErrors:
        """Joins those of several frames."""
        return cls(
            names=tuple(name for one in several for name in one.names),
            sizes=np.concatenate([one.sizes for one in several]),
            energy=np.concatenate([one.energy for one in several]),
            forces=tuple(f for one in several for f in one.forces),
        )

    def by_kind(self) -> dict[str, dict[str, Any]]:
        """Returns statistics by name, meV and meV/Å, the largest force error first."""
        members: dict[str, list[int]] = {}
        for k, name in enumerate(self.names):
            members.setdefault(name, []).append(k)
        rows = {}
        for name, inside in members.items():
            force = 1e3 * np.concatenate([self.forces[k].reshape(-1) for k in inside])
            energy = 1e3 * self.energy[inside]
            rows[name] = {
                "n": len(inside),
                "atoms": int(self.sizes[inside[0]]),
                "energy_mean": float(energy.mean()),
                "energy_std": float(energy.std()),
                "force_mae": float(np.abs(force).mean()),
                "force_rmse": float(np.sqrt(np.square(force).mean())),
                "force_max": float(np.abs(force).max()),
            }
        return dict(sorted(rows.items(), key=lambda row: -row[1]["force_mae"]))

    def components(self) -> NDArray[np.float64]:
        """Returns the components of all force errors, eV/Å."""
        return np.concatenate([f.reshape(-1) for f in self.forces])


def fragment_errors(
    model: FragmentCalculator, reference: FragmentCalculator, where: NDArray[np.float64]
) -> FragmentErrors:
    """Evaluates both on the fragments of one structure, [n_atoms, 3], Å."""
    topology = model.topology
    partition = model.force_field.partition(topology.atomic_numbers, where)
    assembly = partition.batch.assembly
    names = [fragment_name(topology, f.units) for f in assembly.fragments]
    rows = assembly.positions(torch.from_numpy(where.copy()))
    own_energy, own_forces = _evaluate(model, partition, names, rows)
    energy, forces = _evaluate(reference, partition, names, rows)
    used = np.flatnonzero(used_coefficients(partition, where))
    ends = np.cumsum(assembly.sizes)
    split = np.split(own_forces - forces, ends[:-1])
    totals = [part.sum() for part in np.split(own_energy - energy, ends[:-1])]
    return FragmentErrors(
        names=tuple(names[k] for k in used),
        sizes=assembly.sizes[used],
        energy=np.array([totals[k] for k in used]),
        forces=tuple(split[k] for k in used),
    )


def _evaluate(
    calculator: FragmentCalculator, partition: Partition, names: list[str], rows: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    high = calculator.force_field.high
    charge = bool(high.uses_charge)
    leaf = rows.detach().to(calculator.device).clone().requires_grad_(True)
    if isinstance(high, TypedModel):
        typed = TypedBatch(partition.batch, names, high)
        energies = typed.energies(leaf, once=True, charge=charge)
    else:
        energies = partition.batch.energies(high, leaf, once=True, charge=charge)
    (gradient,) = torch.autograd.grad(energies.sum(), leaf)
    return energies.detach().cpu().numpy(), -gradient.cpu().numpy()
