"""An ion and a molecule far away add up, in models that know charges by the atoms."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.models import load
from tlpot.system import System


@pytest.fixture(scope="module")
def model():
    """The shipped model of fragments in all protonation states, which reads no charges."""
    potential = load("tlpot-fragments", device="cpu").to(torch.float64)
    assert potential.card.implies_charges
    assert not potential.uses_charge
    return potential.at("gfn2-xtb")


def acetate():
    """CH3COO- in the plane of its carboxylate."""
    atoms = molecule("CH3COOH")
    acid = [k for k in range(len(atoms)) if atoms.symbols[k] == "H"
            and min(atoms.get_distances(k, [j for j in range(len(atoms))
                                            if atoms.symbols[j] == "O"])) < 1.1]  # fmt: skip
    del atoms[acid]
    return atoms


def apart(distance):
    """The ion and a water whose centres are so far apart, Å."""
    ion, water = acetate(), molecule("H2O")
    ion.positions -= ion.get_center_of_mass()
    water.positions += [distance, 0.0, 0.0] - water.get_center_of_mass()
    return Atoms([*ion.symbols, *water.symbols], [*ion.positions, *water.positions])


def energy_and_forces(model, atoms):
    graph = build_graph([System.from_atoms(atoms)], model.cutoff)
    found = evaluate(model, graph)
    return float(found.energy), found.forces.numpy()


def test_beyond_the_reach_of_the_network_they_add_up(model):
    parts = [energy_and_forces(model, atoms) for atoms in (acetate(), molecule("H2O"))]
    for distance in (14.0, 25.0, 50.0):
        energy, forces = energy_and_forces(model, apart(distance))
        assert energy == pytest.approx(sum(e for e, _ in parts), abs=1e-9)
        assert np.abs(forces[-3:] - parts[1][1]).max() < 1e-9


def test_forces_are_derivatives_and_smooth_on_the_way(model):
    step = 1e-4
    distances = np.arange(4.0, 15.0, 0.1)
    pulls = []
    for distance in distances:
        pull = energy_and_forces(model, apart(distance))[1][-3:, 0].sum()
        ends = [energy_and_forces(model, apart(distance + d))[0] for d in (-step, step)]
        assert pull == pytest.approx(-(ends[1] - ends[0]) / (2 * step), abs=1e-6)
        pulls.append(pull)
    pulls = np.array(pulls)
    # no jump where neighbours come into reach: halving the step halves the differences
    coarse = np.abs(np.diff(pulls[::2])).max()
    assert np.abs(np.diff(pulls)).max() < 0.75 * coarse
