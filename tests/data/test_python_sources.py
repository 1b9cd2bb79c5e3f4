"""What `open_dataset` takes beside files: arrays, datasets, and what it is not to be given."""

import numpy as np
import pytest
from ase import Atoms
from layouts import numbers_of_water, water_frames

from tlpot.data import open_dataset
from tlpot.errors import ConfigError, DataError

FRAMES = water_frames(5)
ARRAYS = {
    "z": numbers_of_water(),
    "R": FRAMES,
    "E": -1000.0 - np.arange(5)[:, None],
    "F": 0.1 * FRAMES,
}


@pytest.mark.fault
def test_arrays_are_read_as_an_npz_file_would_be(tmp_path):
    """Their names were taken for files: "no such file: z"."""
    np.savez(tmp_path / "a.npz", **ARRAYS)
    of_file = open_dataset(tmp_path / "a.npz", spec="md17", level="pbe")
    dataset = open_dataset(ARRAYS, spec="md17", level="pbe")
    for one, other in zip(dataset, of_file, strict=True):
        assert one.labels["pbe"].energy == other.labels["pbe"].energy
        np.testing.assert_array_equal(one.labels["pbe"].forces, other.labels["pbe"].forces)
    assert (
        dataset.content_hash
        != open_dataset({**ARRAYS, "F": -0.1 * FRAMES}, spec="md17", level="pbe").content_hash
    )


def test_arrays_need_a_description_of_arrays():
    with pytest.raises(DataError, match="md17"):
        open_dataset(ARRAYS, level="pbe")
    with pytest.raises(ConfigError, match="npz"):
        open_dataset(ARRAYS, spec="extxyz", level="pbe")


@pytest.mark.fault
def test_datasets_are_joined():
    """A list of datasets was a TypeError of pathlib."""
    part = open_dataset(ARRAYS, spec="md17", level="pbe")
    other = open_dataset([Atoms("H2", FRAMES[0, :2], info={"energy": -30.0})], level="pbe")
    joined = open_dataset([part, other])
    assert len(joined) == 6
    assert joined[5].labels["pbe"].energy == -30.0


class Table:
    """As a table of pandas: it gives the names of its columns."""

    columns = ("positions", "energy")

    def __iter__(self):
        return iter(self.columns)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("given", "term"),
    [
        (Table(), "itertuples"),
        ([[Atoms("H")]], "list of list"),
        ([(Atoms("H"), 1.0)], "list of tuple"),
        ([None], "list of NoneType"),
    ],
)
def test_what_is_no_data_is_named(given, term):
    """Was "no such file: positions", or a TypeError of pathlib."""
    with pytest.raises(ConfigError, match=term):
        open_dataset(given, level="pbe")
