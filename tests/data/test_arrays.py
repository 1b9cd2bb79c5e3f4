"""Reading on demand, caching, other processes, and damaged files."""

import multiprocessing
import pickle

import h5py
import numpy as np
import pytest
from layouts import native_file

from tlpot.data import ArrayDataset, HDF5Store, open_dataset
from tlpot.data.native import read_native_spec
from tlpot.errors import DataError


def open_native(path, cache_bytes):
    store = HDF5Store(path, "atomic_numbers", "coordinates")
    return ArrayDataset(store, read_native_spec(path), cache_bytes=cache_bytes)


def signature(frames):
    return [
        (f.name, f.system.positions.sum(), {k: v.energy for k, v in sorted(f.labels.items())})
        for f in frames
    ]


def energy_in_child(dataset, queue):
    queue.put(signature(dataset.read([0, 7])))


def test_frames_come_in_the_order_asked_for_with_repeats(tmp_path):
    dataset = open_dataset(native_file(tmp_path / "a.h5"))
    names = [frame.name for frame in dataset.read([9, 0, 9, 3])]
    assert names == [
        "a.h5:/water[3]",
        "a.h5:/hydrogen[0]",
        "a.h5:/water[3]",
        "a.h5:/hydrogen[3]",
    ]
    assert dataset.read([]) == []
    for outside in (-1, 12):
        with pytest.raises(DataError, match="12 frames"):
            dataset.read([outside])


def test_frames_do_not_share_memory_with_the_cache(tmp_path):
    dataset = open_dataset(native_file(tmp_path / "a.h5"))
    before = dataset.read([0])[0].system.positions.copy()
    dataset.read([0])[0].system.positions[:] = 0.0
    np.testing.assert_array_equal(dataset.read([0])[0].system.positions, before)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_another_process_opens_its_own_handle(tmp_path, method):
    dataset = open_dataset(native_file(tmp_path / "a.h5"))
    expected = signature(dataset.read([0, 7]))  # the parent's handle is open by now
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=energy_in_child, args=(dataset, queue))
    process.start()
    assert repr(queue.get(timeout=60)) == repr(expected)
    process.join()
    assert process.exitcode == 0
    assert repr(signature(dataset.read([0, 7]))) == repr(expected)


def test_pickling_leaves_the_cache_behind(tmp_path):
    dataset = open_dataset(native_file(tmp_path / "a.h5", n=2000))
    dataset.read(range(len(dataset)))
    assert len(pickle.dumps(dataset)) < 100_000
    copy = pickle.loads(pickle.dumps(dataset))
    assert repr(signature(copy.read([5]))) == repr(signature(dataset.read([5])))


def test_a_file_larger_than_the_cache_is_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr("tlpot.data.arrays.CHUNK_BYTES", 2000)
    path = native_file(tmp_path / "a.h5", n=400)
    reads = []
    original = HDF5Store.read

    def counting(self, section, key, rows=None):
        array = original(self, section, key, rows)
        reads.append(array.nbytes)
        return array

    monkeypatch.setattr(HDF5Store, "read", counting)
    small, large = open_native(path, 20_000), open_native(path, 10**9)
    order = np.random.default_rng(0).permutation(len(small))
    reads.clear()
    expected = signature(large.read(order))
    assert max(reads) <= 4000  # never a whole group
    assert repr(signature(small.read(order))) == repr(expected)
    assert 0 < small._cache.n_bytes <= 20_000
    reads.clear()
    large.read(order)
    assert not reads  # what fits is read once
    small.read(order)
    assert reads


def test_a_column_of_the_file(tmp_path):
    dataset = open_dataset(native_file(tmp_path / "a.h5"))
    assert dataset.column("temperature").tolist() == ([300.0] * 3 + [600.0] * 3) * 2
    with pytest.raises(DataError, match=r"no array 'temprature'.*did you mean 'temperature'"):
        dataset.column("temprature")
    with pytest.raises(DataError, match="one for each frame"):
        dataset.column("low.forces")


def test_truncated_foreign_and_empty_files(tmp_path):
    path = native_file(tmp_path / "a.h5")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="not a complete HDF5 file"):
        open_dataset(path)
    path.write_text("this is no HDF5 file")
    with pytest.raises(DataError, match="not an HDF5 file"):
        open_dataset(path)
    with h5py.File(path, "w"):
        pass
    with pytest.raises(DataError, match=r"no group matching '\*'.*no datasets at all"):
        open_dataset(path, "ani1x")


def test_a_file_that_changed_after_opening(tmp_path):
    dataset = open_dataset(native_file(tmp_path / "a.h5"))
    copy = pickle.dumps(dataset)
    with h5py.File(tmp_path / "b.h5", "w") as handle:
        handle.create_group("water")
    (tmp_path / "b.h5").replace(tmp_path / "a.h5")
    with pytest.raises(DataError, match="damaged or was changed"):
        pickle.loads(copy).read([0])


@pytest.mark.parametrize(
    ("key", "array", "message"),
    [
        ("low.energy", np.zeros(5), r"'low.energy' has shape \(5,\), but 6 frames of 3 atoms"),
        ("low.forces", np.zeros((6, 2, 3)), r"'low.forces' has shape \(6, 2, 3\)"),
        ("atomic_numbers", np.array([8, 1]), r"'atomic_numbers' has shape \(2,\)"),
        ("coordinates", np.zeros((6, 9)), r"expected \(frames, atoms, 3\)"),
        ("atomic_numbers", np.array([8, 1, 300]), "300, which is no atomic number"),
        ("atomic_numbers", np.array([b"O", b"H", b"Xx"]), "'Xx' is not an element"),
        ("charge", np.array([0, 0, 0.5, 0, 0, 0]), "not whole"),
    ],
)
def test_arrays_that_do_not_fit_together(tmp_path, key, array, message):
    path = native_file(tmp_path / "a.h5")
    with h5py.File(path, "a") as handle:
        if key in handle["water"]:
            del handle["water"][key]
        handle["water"][key] = array
    with pytest.raises(DataError, match=message):
        open_dataset(path).read([6])


def test_a_label_absent_everywhere(tmp_path):
    path = native_file(tmp_path / "a.h5")
    with h5py.File(path, "a") as handle:
        for group in handle.values():
            group["high.energy"][:] = np.nan
    assert set(open_dataset(path).levels) == {"gfn2-xtb"}
    with pytest.raises(DataError, match=r"labels described \(high.energy"):
        open_dataset(path, level="ccsd(t)/cbs")


def test_nan_coordinates_are_named_when_a_batch_is_made(tmp_path):
    from tlpot.data import collate
    from tlpot.errors import GeometryError

    path = native_file(tmp_path / "a.h5")
    with h5py.File(path, "a") as handle:
        handle["water"]["coordinates"][2, 1] = np.nan
    frames = open_dataset(path).read([8])
    with pytest.raises(GeometryError, match=r"a\.h5:/water\[2\]: the position of atom 1"):
        collate(frames, 5.0, ["gfn2-xtb"])
