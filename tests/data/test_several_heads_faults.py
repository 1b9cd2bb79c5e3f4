"""Frames of several levels of theory in one file, and endings in capitals."""

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from layouts import water_frames

from tlpot.data import open_dataset


def frames(head):
    found = []
    for k, positions in enumerate(water_frames(6)):
        atoms = Atoms("OH2", positions, info={"energy": -2000.0 - k, "head": head(k)})
        atoms.arrays["forces"] = 0.1 * positions
        found.append(atoms)
    return found


@pytest.mark.fault
def test_heads_of_mace_are_warned_of(tmp_path):
    """Energies of two levels were read as one, with 'head' among what is not used."""
    write(tmp_path / "a.xyz", frames(lambda k: "pbe" if k % 2 else "r2scan"), format="extxyz")
    dataset = open_dataset(tmp_path / "a.xyz", level="pbe")
    (problem,) = (p for p in dataset.problems if "'head'" in p.what)
    assert problem.severity == "warning"
    assert "r2scan (3)" in problem.what
    assert not open_dataset(frames(lambda k: "Default"), level="pbe").problems


@pytest.mark.fault
def test_endings_in_capitals_are_the_same(tmp_path):
    """Were "not an HDF5 file"."""
    write(tmp_path / "a.XYZ", frames(lambda k: "Default"), format="extxyz")
    dataset = open_dataset(tmp_path / "a.XYZ", level="pbe")
    np.testing.assert_allclose(dataset[0].system.positions, water_frames(6)[0], atol=1e-7)
    write(tmp_path / "a.TRAJ", frames(lambda k: "Default"), format="traj")
    assert len(open_dataset(tmp_path / "a.TRAJ", level="pbe")) == 6
