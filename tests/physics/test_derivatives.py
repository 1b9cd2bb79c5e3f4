"""Forces, stress and Hessian are the derivatives of the energy, to 1e-6 in float64."""

import numpy as np
import pytest
import torch
from battery import INTERACTING, PERIODIC, SYSTEMS, compute, make_model, skip_jump, slope

from tlpot.energy import hessian
from tlpot.graph import build_graph
from tlpot.system import System

STEP = 5e-4
STENCIL = (-2 * STEP, -STEP, STEP, 2 * STEP)


def displaced(atoms, direction):
    """The structure at the four points of the stencil along a direction [n_atoms, 3]."""
    copies = [atoms.copy() for _ in STENCIL]
    for copy, t in zip(copies, STENCIL, strict=True):
        copy.positions += t * direction
    return copies


def directions(n_atoms):
    """A single coordinate and collective motions."""
    rng = np.random.default_rng(0)
    single = np.zeros((1, n_atoms, 3))
    single[0, rng.integers(n_atoms), rng.integers(3)] = 1.0
    return np.concatenate([single, rng.normal(size=(2, n_atoms, 3))])


@pytest.mark.parametrize("name", INTERACTING)
@pytest.mark.parametrize("layout", ["padded", "sorted"])
def test_forces(model, name, layout):
    skip_jump(model, name)
    atoms = SYSTEMS[name]()
    forces = compute(model, atoms, layout=layout).forces
    ways = directions(len(atoms))
    batch = [a for way in ways for a in displaced(atoms, way)]
    energies = compute(model, batch, layout=layout).energy.reshape(len(ways), 4)
    found = -(forces * torch.from_numpy(ways)).sum(dim=(1, 2))
    torch.testing.assert_close(found, slope(energies.T, STEP), rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("name", PERIODIC[:2])
@pytest.mark.parametrize("layout", ["padded", "sorted"])
def test_stress(model, name, layout):
    atoms = SYSTEMS[name]()
    stress = compute(model, atoms, stress=True, layout=layout).stress[0]
    torch.testing.assert_close(stress, stress.T)
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    batch = []
    for i, j in pairs:
        for t in STENCIL:
            strain = np.eye(3)
            strain[i, j] += t / 2
            strain[j, i] += t / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=False)
            strained.positions = atoms.positions @ strain
            batch.append(strained)
    energies = compute(model, batch, layout=layout).energy.reshape(len(pairs), 4)
    found = torch.stack([stress[i, j] for i, j in pairs])
    expected = slope(energies.T, STEP) / atoms.get_volume()
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("name", ["water", "chain"])
def test_hessian(model, name):
    skip_jump(model, name)
    atoms = SYSTEMS[name]()
    graph = build_graph([System.from_atoms(atoms)], model.cutoff)
    matrix = hessian(model, graph)
    n_atoms = len(atoms)
    flat = matrix.reshape(3 * n_atoms, 3 * n_atoms)
    torch.testing.assert_close(flat, flat.T, rtol=0, atol=1e-9 * float(1 + flat.abs().max()))
    ways = directions(n_atoms)
    batch = [a for way in ways for a in displaced(atoms, way)]
    forces = compute(model, batch).forces.reshape(len(ways), 4, n_atoms, 3)
    found = torch.einsum("iajb,wjb->wia", matrix, torch.from_numpy(ways))
    torch.testing.assert_close(found, -slope(forces.transpose(0, 1), STEP), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["lone_atom", "strangers"])
def test_what_has_no_neighbours_has_no_curvature(model, name):
    graph = build_graph([System.from_atoms(SYSTEMS[name]())], model.cutoff)
    assert (hessian(model, graph) == 0).all()


def test_single_precision_follows_double(model_name):
    for name in INTERACTING:
        atoms = SYSTEMS[name]()
        double = compute(make_model(model_name), atoms, stress=name == "crystal")
        single = compute(make_model(model_name, torch.float32), atoms, stress=name == "crystal")
        assert single.energy.dtype == single.forces.dtype == torch.float64
        force_scale = float(double.forces.abs().max())
        assert (single.forces - double.forces).abs().max() < 1e-4 * force_scale
        # an energy is as uncertain as forces times a bond length, and as rounding, for each atom
        rounding = 2e-6 * double.energies.abs().max()
        bound = 1e-4 * (1 + force_scale) + rounding
        assert (single.energies - double.energies).abs().max() < bound
        assert (single.forces != double.forces).any()
        if double.stress is not None:
            scale = float(double.stress.abs().max())
            assert (single.stress - double.stress).abs().max() < 1e-4 * scale
