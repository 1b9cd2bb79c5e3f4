"""Scales taken from the training set."""

import numpy as np
import pytest
from training_toys import ToyDataset, make_frames

from tlpot.data import Labels, average_neighbors, force_scale


def test_average_number_of_neighbours():
    # molecules of 2, 3 and 4 atoms, all within the cutoff: (2·1 + 3·2 + 4·3) / 9
    dataset = ToyDataset(make_frames(3))
    assert average_neighbors(dataset, range(3), 6.0) == pytest.approx(20 / 9)


def test_average_neighbours_of_free_atoms_is_at_least_one():
    assert average_neighbors(ToyDataset(make_frames(3)), range(3), 0.5) == 1.0


def test_force_scale_is_the_root_mean_square_of_what_is_labelled():
    frames = make_frames(6)
    forces = [frame.labels["low"].forces for frame in frames]
    forces[0][1] = np.nan
    values = np.concatenate([f.ravel() for f in forces])
    expected = np.sqrt(np.nanmean(values**2))
    assert force_scale(ToyDataset(frames), range(6), ["low"]) == pytest.approx(expected)


def test_force_scale_without_forces_is_one():
    frames = make_frames(3)
    for frame in frames:
        frame.labels["low"] = Labels(energy=frame.labels["low"].energy)
    assert force_scale(ToyDataset(frames), range(3), ["low"]) == 1.0


def test_large_sets_are_sampled_the_same_way_each_time():
    dataset = ToyDataset(make_frames(700))
    first = force_scale(dataset, range(700), ["low"])
    assert force_scale(dataset, range(700), ["low"]) == first
