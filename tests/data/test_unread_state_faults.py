"""Cells, charges and multiplicities of a file that its description does not name."""

import h5py
import numpy as np
import pytest
from layouts import native_file, numbers_of_water, water_frames

from tlpot.data import open_dataset
from tlpot.errors import ConfigError

FRAMES = water_frames(4)
ARRAYS = {"z": numbers_of_water(), "R": FRAMES, "E": -1000.0 - np.arange(4), "F": 0.1 * FRAMES}


def warnings_of(dataset, key):
    return [p.what for p in dataset.problems if p.severity == "warning" and repr(key) in p.what]


@pytest.mark.fault
@pytest.mark.parametrize(
    ("key", "value", "term"),
    [
        ("lattice", 10 * np.eye(3), "not periodic"),
        ("unit_cell", 10 * np.eye(3), "not periodic"),
        ("Q", np.ones(4), "neutral"),
        ("total_charge", np.array(-1), "neutral"),
        ("multiplicity", np.full(4, 2), "singlets"),
        ("spin", np.zeros(4), "singlets"),
    ],
)
def test_what_changes_the_frames_and_is_not_read_is_warned_of(key, value, term):
    """Was "not used" among others, and the frames were neutral singlets in a vacuum."""
    dataset = open_dataset({**ARRAYS, key: value}, spec="md17", level="pbe")
    (what,) = warnings_of(dataset, key)
    assert term in what
    assert "keys" in what


@pytest.mark.parametrize(
    ("key", "value"),
    [("Q", np.zeros(4)), ("multiplicity", np.ones(4)), ("Q", np.ones((4, 3))), ("charges", FRAMES)],
)
def test_what_changes_nothing_is_not_warned_of(key, value):
    dataset = open_dataset({**ARRAYS, key: value}, spec="md17", level="pbe")
    assert not warnings_of(dataset, key)


def test_what_is_named_is_read():
    keys = {"charge": "Q", "cell": "lattice"}
    arrays = {**ARRAYS, "Q": np.ones(4), "lattice": 10 * np.eye(3)}
    dataset = open_dataset(arrays, spec="md17", level="pbe", keys=keys)
    assert dataset[0].system.charge == 1
    assert not warnings_of(dataset, "Q")


@pytest.mark.fault
def test_a_charge_in_one_group_of_many_is_seen(tmp_path):
    """As above, in HDF5."""
    path = native_file(tmp_path / "a.h5")
    with h5py.File(path, "r+") as handle:
        handle["hydrogen/net_charge"] = np.ones(6)
    assert warnings_of(open_dataset(path), "net_charge")


@pytest.mark.fault
def test_a_cell_of_extended_xyz_under_another_name_is_warned_of(tmp_path):
    """The frames were in a vacuum, and --keys cell=box changed nothing."""
    path = tmp_path / "a.xyz"
    path.write_text('2\nenergy=-30.0 box="9 0 0 0 9 0 0 0 9"\nH 0 0 0\nH 0 0 0.8\n')
    (what,) = warnings_of(open_dataset(path, level="pbe"), "box")
    assert "Lattice" in what
    with pytest.raises(ConfigError, match="Lattice"):
        open_dataset(path, level="pbe", keys={"cell": "box"})
