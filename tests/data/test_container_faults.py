"""A file of another kind than its description is named so, by its first bytes."""

import numpy as np
import pytest
from layouts import native_file

from tlpot.data import open_dataset
from tlpot.errors import DataError


def npz_file(path):
    np.savez(
        path, z=np.array([8, 1, 1]), R=np.zeros((2, 3, 3)), E=np.zeros(2), F=np.zeros((2, 3, 3))
    )
    return path


@pytest.mark.fault
def test_hdf5_for_a_description_of_npz(tmp_path):
    """It ended in numpy's advice to load the file with allow_pickle."""
    path = native_file(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"a.h5 is HDF5, and the description md17 is for npz"):
        open_dataset(path, spec="md17", level="a/b")
    with pytest.raises(DataError, match="is HDF5, and the description extxyz is for extended XYZ"):
        open_dataset(path, spec="extxyz", level="a/b")


@pytest.mark.fault
def test_npz_for_a_description_of_hdf5(tmp_path):
    """It was "no HDF5 file, and its name tells of no other format"."""
    path = npz_file(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"zip archive, .* the description ani1x is for HDF5"):
        open_dataset(path, spec="ani1x")
    path.rename(tmp_path / "a.xyz")
    with pytest.raises(DataError, match=r"zip archive, .* its name is for extended XYZ"):
        open_dataset(tmp_path / "a.xyz", level="a/b")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"3\n\nH 0 0 0\n", marks=pytest.mark.fault),
        pytest.param(b"", marks=pytest.mark.control),
        pytest.param(b"PK\x03\x04 cut off", marks=pytest.mark.control),
    ],
)
def test_what_is_no_archive_is_not_to_be_unpickled(tmp_path, content):
    """numpy's text recommended allow_pickle and pickle.load."""
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match="is not a complete npz archive") as caught:
        open_dataset(tmp_path / "a.npz", spec="md17", level="a/b")
    assert "pickle" not in str(caught.value)


@pytest.mark.fault
def test_an_archive_of_objects_is_not_to_be_unpickled(tmp_path):
    """The message named allow_pickle."""
    np.savez(tmp_path / "a.npz", z=np.array([8, None]), R=np.zeros((1, 2, 3)), E=np.zeros(1))
    with pytest.raises(DataError, match="Python objects") as caught:
        open_dataset(tmp_path / "a.npz", spec="md17", level="a/b")
    assert "pickle" not in str(caught.value)
