"""Folders of DeePMD-kit as dpdata writes them."""

from pathlib import Path

import numpy as np
import pytest
from layouts import water_frames

from tlpot.data import open_dataset
from tlpot.errors import DataError
from tlpot.structures import read_all


def system(folder: Path, *, n=6, periodic=True, **arrays) -> Path:
    """Frames of water in two sets."""
    folder.mkdir(parents=True)
    (folder / "type.raw").write_text("0\n1\n1\n")
    (folder / "type_map.raw").write_text("O\nH\n")
    if not periodic:
        (folder / "nopbc").touch()
    frames = water_frames(n)
    whole = {
        "coord": frames.reshape(n, -1),
        "energy": -2000.0 - np.arange(n),
        "force": 0.1 * frames.reshape(n, -1),
        **({"box": np.tile(10 * np.eye(3).reshape(-1), (n, 1))} if periodic else {}),
        **arrays,
    }
    for k, rows in enumerate((slice(0, n // 2), slice(n // 2, n))):
        (folder / f"set.{k:03d}").mkdir()
        for name, array in whole.items():
            np.save(folder / f"set.{k:03d}" / f"{name}.npy", array[rows])
    return folder


@pytest.mark.fault
def test_a_system_is_read_set_by_set(tmp_path):
    """Was "a folder without structures"."""
    virial = np.tile(np.diag([1.0, 2.0, 3.0]).reshape(-1), (6, 1))
    dataset = open_dataset(system(tmp_path / "s", virial=virial), level="pbe")
    assert len(dataset) == 6
    frame = dataset[4]
    np.testing.assert_allclose(frame.system.positions, water_frames(6)[4])
    assert frame.system.pbc.all()
    assert frame.labels["pbe"].energy == -2004.0
    np.testing.assert_allclose(frame.labels["pbe"].forces, 0.1 * water_frames(6)[4])
    # positive under compression in the file, positive under tension here
    np.testing.assert_allclose(frame.labels["pbe"].stress, -np.diag([1.0, 2.0, 3.0]) / 1000)


def test_systems_below_a_folder_are_one_dataset(tmp_path):
    system(tmp_path / "all" / "a")
    system(tmp_path / "all" / "b", n=4, periodic=False)
    dataset = open_dataset(tmp_path / "all", level="pbe")
    assert len(dataset) == 10
    assert not dataset[9].system.pbc.any()
    assert len(read_all(tmp_path / "all")) == 10


def test_mixed_types_and_virtual_atoms(tmp_path):
    types = np.tile([1, 0, -1], (6, 1))
    dataset = open_dataset(system(tmp_path / "s", real_atom_types=types), level="pbe")
    assert dataset[0].system.atomic_numbers.tolist() == [1, 8]
    np.testing.assert_allclose(dataset[0].labels["pbe"].forces, 0.1 * water_frames(6)[0, :2])


def test_other_arrays_are_listed_as_not_read(tmp_path):
    more = {"fparam": np.ones((6, 2)), "atom_ener": np.ones((6, 3))}
    dataset = open_dataset(system(tmp_path / "s", **more), level="pbe")
    assert {"fparam", "atom_ener"} <= {*dataset.unused_keys}


@pytest.mark.parametrize(
    ("spoil", "term"),
    [
        (lambda f: (f / "type_map.raw").unlink(), "type_map.raw"),
        (lambda f: (f / "type_map.raw").write_text("O"), "type 1"),
        (lambda f: (f / "set.000" / "box.npy").unlink(), "nopbc"),
        (lambda f: np.save(f / "set.001" / "force.npy", np.zeros((3, 8))), "force.npy"),
        (lambda f: (f / "set.001" / "energy.npy").write_bytes(b"\x93NUMPY"), "energy.npy"),
        (lambda f: np.save(f / "set.001" / "energy.npy", np.array([None] * 3)), "energy.npy"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, spoil, term):
    folder = system(tmp_path / "s")
    spoil(folder)
    with pytest.raises(DataError, match=term):
        open_dataset(folder, level="pbe")


def test_files_deep_below_a_folder_are_not_looked_for(tmp_path):
    system(tmp_path / "a" / "b" / "c" / "d")
    with pytest.raises(DataError, match="DeePMD"):
        open_dataset(tmp_path, level="pbe")
    with pytest.raises(DataError, match="empty"):
        open_dataset("", level="pbe")


def test_a_set_alone_leads_to_its_system(tmp_path):
    with pytest.raises(DataError, match=r"type\.raw"):
        open_dataset(system(tmp_path / "s") / "set.000", level="pbe")
