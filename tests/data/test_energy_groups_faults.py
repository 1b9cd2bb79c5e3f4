"""Two units in one file."""

import numpy as np
import pytest
from ase.build import molecule
from ase.units import Hartree

from tlpot import validate_dataset


def frames(*energies):
    rng = np.random.default_rng(3)
    found = []
    for energy in energies:
        atoms = molecule("CH4")
        atoms.rattle(0.02, rng=rng)
        atoms.info["energy"] = energy
        found.append(atoms)
    return found


def words(energies):
    problems = validate_dataset(frames(*energies), level="pbe").problems
    return [p for p in problems if "two groups" in p.what]


@pytest.mark.fault
def test_two_units_in_one_file_are_named():
    """Half of the frames in hartree was "no errors, 0 kinds of warning"."""
    totals = -40.5 * Hartree + 0.01 * np.arange(20)
    totals[::3] /= Hartree
    (problem,) = words(totals)
    assert "hartree" in problem.what
    assert "ev" in problem.what
    assert len(problem.frames) == 7


@pytest.mark.parametrize(
    "energies",
    [
        np.linspace(-1101.0, -1080.0, 20),  # dissociation
        np.r_[np.linspace(-1101.0, -1100.0, 19), -40.0],  # one outlier, reported as that
        [-1101.0, -1100.0],
    ],
)
def test_energies_that_bonds_explain_are_one_group(energies):
    assert not words(energies)
