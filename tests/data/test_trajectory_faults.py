"""Trajectories of ASE with results of calculators as labels."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tlpot.data import open_dataset
from tlpot.errors import DataError, UnknownLevelError

pytestmark = pytest.mark.fault


def computed(n):
    """Molecules of hydrogen with energies and forces."""
    frames = []
    for k in range(n):
        atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.01 * k]], calculator=EMT())
        atoms.get_forces()
        frames.append(atoms)
    return frames


def test_results_of_calculators_are_the_labels(tmp_path):
    frames, path = computed(4), tmp_path / "a.traj"
    write(path, frames)
    for given in (path, [path], frames):
        dataset = open_dataset(given, level="emt")
        labels = [frame.labels["emt"] for frame in dataset.read(range(4))]
        assert [one.energy for one in labels] == [a.get_potential_energy() for a in frames]
        np.testing.assert_array_equal(labels[2].forces, frames[2].get_forces())
    write(tmp_path / "b.xyz", frames[:2], format="extxyz")
    assert len(open_dataset([path, path, tmp_path / "b.xyz"], level="emt")) == 10
    with pytest.raises(UnknownLevelError, match="level"):
        open_dataset(path)


def test_a_damaged_or_unlabelled_trajectory_is_refused(tmp_path):
    path = tmp_path / "a.traj"
    write(path, computed(3))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"a\.traj"):
        open_dataset(path, level="emt")
    odd = Atoms("H2", [[0, 0, 0], [0, 0, 0.7]])
    odd.calc = SinglePointCalculator(odd, dipole=np.zeros(3))
    write(path, [odd])
    with pytest.raises(DataError, match=r"a\.traj"):
        open_dataset(path, level="emt")
    with pytest.raises(DataError, match="no such file"):
        open_dataset(tmp_path / "b.traj", level="emt")


def test_other_endings_are_told_what_is_read(tmp_path):
    (tmp_path / "a.out").write_text("nothing")
    with pytest.raises(DataError, match=r"\.traj"):
        open_dataset(tmp_path / "a.out")
