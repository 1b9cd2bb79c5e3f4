"""Energies do not depend on how a structure is held or written down; forces follow it."""

import numpy as np
import pytest
import torch
from battery import INTERACTING, PERIODIC, SYSTEMS, assert_close, compute

from tlpot.energy import Properties


def has_volume(atoms):
    return bool(atoms.pbc.any()) and atoms.cell.rank == 3


@pytest.mark.parametrize("handedness", [1, -1], ids=["rotation", "reflection"])
def test_rotation_and_reflection(model, atoms, handedness):
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turn *= handedness * np.sign(np.linalg.det(turn))
    turned = atoms.copy()
    turned.positions, turned.cell = atoms.positions @ turn, atoms.cell.array @ turn
    stress = has_volume(atoms)
    before, after = (compute(model, a, stress=stress) for a in (atoms, turned))
    q = torch.from_numpy(turn)
    expected = Properties(
        energy=before.energy,
        energies=before.energies,
        forces=before.forces @ q,
        stress=q.T @ before.stress @ q if stress else None,
    )
    assert_close(after, expected)


def test_translation(model, atoms):
    moved = atoms.copy()
    moved.positions += [11.3, -7.1, 3.3]
    assert_close(compute(model, moved), compute(model, atoms))


@pytest.mark.parametrize("name", PERIODIC)
def test_an_atom_may_be_any_of_its_images(model, name):
    atoms = SYSTEMS[name]()
    moved = atoms.copy()
    moved.positions[0] += atoms.cell[0]
    moved.positions[1] -= 2 * atoms.cell[0]
    stress = has_volume(atoms)
    assert_close(compute(model, moved, stress=stress), compute(model, atoms, stress=stress))


@pytest.mark.parametrize("layout", ["padded", "sorted"])
def test_permutation(model, atoms, layout):
    order = np.random.default_rng(0).permutation(len(atoms))
    before, after = (compute(model, a, layout=layout) for a in (atoms, atoms[order]))
    expected = Properties(
        energy=before.energy, energies=before.energies[order], forces=before.forces[order]
    )
    assert_close(after, expected)


@pytest.mark.parametrize("name", INTERACTING)
def test_forces_balance_and_there_are_some(model, name):
    forces = compute(model, SYSTEMS[name]()).forces
    assert forces.abs().max() > 1e-3
    assert forces.sum(dim=0).abs().max() < 1e-10 * (1 + forces.abs().sum())
