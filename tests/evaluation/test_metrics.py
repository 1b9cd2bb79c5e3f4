"""Errors by level against numpy."""

import numpy as np
import pytest
import torch

from tlpot.data import Targets
from tlpot.energy import Properties
from tlpot.evaluation import Metrics, relative_errors


def test_errors_over_batches_with_holes():
    rng = np.random.default_rng(0)
    metrics, merged = Metrics(), Metrics()
    energy_errors, per_atom, force_errors = [], [], []
    for n_systems in (2, 3):
        sizes = torch.full((n_systems,), 4)
        energy = torch.from_numpy(rng.normal(size=n_systems))
        forces = torch.from_numpy(rng.normal(size=(4 * n_systems, 3)))
        target_energy, target_forces = energy - 0.5 * torch.rand(n_systems), forces + 1.0
        target_energy[0], target_forces[1] = torch.nan, torch.nan
        stress = torch.full((n_systems, 3, 3), torch.nan, dtype=torch.float64)
        targets = Targets(energy=target_energy, forces=target_forces, stress=stress)
        properties = Properties(energy=energy, energies=energy, forces=forces)
        part = Metrics()
        for into in (metrics, part):
            into.add(properties, targets, sizes, torch.arange(n_systems))
        merged.merge(part)
        energy_errors += (energy - target_energy)[1:].tolist()
        per_atom += ((energy - target_energy)[1:] / 4).tolist()
        force_errors += [-1.0] * 3 * (4 * n_systems - 1)

    def mae(x):
        return 1e3 * np.abs(x).mean()

    def rmse(x):
        return 1e3 * np.sqrt(np.square(x).mean())

    expected = {
        "n_energies": 3,
        "energy_mae": mae(energy_errors),
        "energy_rmse": rmse(energy_errors),
        "energy_per_atom_mae": mae(per_atom),
        "energy_per_atom_rmse": rmse(per_atom),
        "forces_mae": mae(force_errors),
        "forces_rmse": rmse(force_errors),
    }
    assert metrics.table() == pytest.approx(expected)
    assert merged.table() == pytest.approx(expected)


def test_nothing_labelled_gives_no_errors():
    assert Metrics().table() == {"n_energies": 0}


def test_relative_energies_are_less_the_mean_of_their_molecule():
    energy = torch.tensor([1.0, 2.0, 4.0, 9.0, 5.0], dtype=torch.float64)
    target = torch.tensor([0.0, 0.0, torch.nan, 0.0, 5.0], dtype=torch.float64)
    molecules = torch.tensor([1, 1, 1, 0, 2])
    errors, whose = relative_errors(energy - target, target.isfinite(), molecules)
    assert errors.tolist() == [-0.5, 0.5]
    assert whose.tolist() == [0, 1]
    broken = torch.where(torch.arange(5) == 0, torch.nan, energy) - target
    assert not relative_errors(broken, target.isfinite(), molecules)[0].isfinite().any()
