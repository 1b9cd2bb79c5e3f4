"""Caches of large files: the same frames, and no trust in what is stale or damaged."""

import json
import pickle
import shutil

import h5py
import numpy as np
import pytest

from tlpot.data import open as opening
from tlpot.data import open_dataset, packed
from tlpot.data.packed import PackedStore, open_store
from tlpot.models import LIBRARY


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder of caches, and no file that is too small for one."""
    monkeypatch.setenv("TLPOT_CACHE", str(tmp_path / "cache"))

    def every_file(*arguments):
        return open_store(*arguments, many=1)

    monkeypatch.setattr(opening, "open_store", every_file)
    return tmp_path / "cache" / "datasets"


@pytest.fixture
def awkward(tmp_path):
    """Groups with other types, scalars, text, holes, an empty group and an array outside."""
    path = tmp_path / "awkward.h5"
    with h5py.File(path, "w") as file:
        file.attrs["levels"] = json.dumps({"low": "low", "high": "high"})
        file.attrs["units"] = json.dumps(
            {"coordinates": "angstrom", "energy": "hartree", "forces": "hartree/angstrom"}
        )
        rng = np.random.default_rng(0)
        for k, name in enumerate(("water", "ion/b", "late")):
            group = file.create_group(name)
            n = 3 + k
            group.attrs["kind"] = f"kind {k}"
            group["atomic_numbers"] = np.array([8, 1, 1], dtype="u1" if k else "i8")
            corners = np.array([[0.0, 0, 0], [3, 0, 0], [0, 3, 0]])
            positions = rng.normal(scale=0.1, size=(n, 3, 3)) + corners
            group["coordinates"] = positions.astype("f4" if k else "f8")
            group["low.energy"] = rng.normal(size=n).astype(">f8" if k else "<f8")
            if k != 1:
                group["high.energy"] = np.where(np.arange(n) == 1, np.nan, rng.normal(size=n))
                group["low.forces"] = rng.normal(size=(n, 3, 3)).astype("f4")
            group["charge"] = np.int64(k - 1) if k else np.full(n, -1)
            group["spin"] = np.ones(n, dtype="i8")
            group["note"] = np.array(["a", "bb", "ccc", "d", "e"][:n], dtype=object)
        file["nothing/coordinates"] = np.zeros((0, 3, 3))
        file["nothing"]["atomic_numbers"] = np.array([8, 1, 1])
        file["elsewhere"] = np.arange(3)
    return path


def first_water(dataset):
    """The first energy of the group ``water``."""
    first = list(dataset.group_idx).index(dataset.group_names.index("water"))
    return dataset.read([first])[0].labels["low"].energy


def same(one, two):
    """Whether two datasets agree in all that can be asked of them."""
    assert one.levels == two.levels
    assert one.content_hash == two.content_hash
    assert one.problems == two.problems
    assert one.unused_keys == two.unused_keys
    assert tuple(one.group_names) == tuple(two.group_names)
    assert one.elements == two.elements
    assert dict(one.attributes()) == dict(two.attributes())
    for group in one.group_names:
        assert dict(one.attributes(group)) == dict(two.attributes(group))
    order = np.random.default_rng(1).permutation(len(one))
    for a, b in zip(one.read(order), two.read(order), strict=True):
        assert (a.name, a.group, a.system.charge, a.system.spin) == (
            b.name, b.group, b.system.charge, b.system.spin,
        )  # fmt: skip
        assert a.system.positions.tobytes() == b.system.positions.tobytes()
        assert a.labels.keys() == b.labels.keys()
        for level, label in a.labels.items():
            other = b.labels[level]
            assert label.energy == other.energy or label.energy != label.energy
            assert (label.forces is None) == (other.forces is None)
            if label.forces is not None:
                assert label.forces.tobytes() == other.forces.tobytes()


@pytest.mark.parametrize("shipped", [True, False])
def test_the_same_frames_the_second_time(shipped, awkward, cache, monkeypatch):
    path = LIBRARY / "tlpot-qm.h5" if shipped else awkward
    with monkeypatch.context() as plain:
        plain.setenv("TLPOT_CACHE", "off")
        expected = open_dataset(path)
        assert not isinstance(expected._store, PackedStore)
    for _ in range(2):
        found = open_dataset(path)
        assert isinstance(found._store, PackedStore)
        same(expected, found)
        same(expected, pickle.loads(pickle.dumps(found)))
    assert len(list(cache.iterdir())) == 1, "made once"
    if not shipped:
        assert found.column("note").tolist() == expected.column("note").tolist()


def test_a_changed_file_gets_a_cache_of_its_own(awkward, cache):
    before = first_water(open_dataset(awkward))
    with h5py.File(awkward, "a") as file:
        file["water/low.energy"][0] = 5.0
    after = first_water(open_dataset(awkward))
    assert after == pytest.approx(5.0 * 27.211386)
    assert before != after
    assert len(list(cache.iterdir())) == 2


def test_the_name_of_a_copy_is_in_its_messages(awkward, cache, tmp_path):
    open_dataset(awkward)
    copy = tmp_path / "copy.h5"
    shutil.copy(awkward, copy)
    assert open_dataset(copy).read([0])[0].name.startswith("copy.h5:/")
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("harm", ["cut", "gone", "index"])
def test_a_damaged_cache_is_made_again(harm, awkward, cache):
    expected = open_dataset(awkward)
    (place,) = cache.iterdir()
    victim = max(place.glob("*.bin"), key=lambda file: file.stat().st_size)
    if harm == "cut":
        victim.write_bytes(victim.read_bytes()[:-8])
    elif harm == "gone":
        victim.unlink()
    else:
        (place / "index.json").write_text("{")
    found = open_dataset(awkward)
    assert isinstance(found._store, PackedStore)
    same(expected, found)


@pytest.mark.fault
def test_a_cache_that_another_process_reads_is_left_alone(awkward, cache, monkeypatch):
    """Of two processes that opened a file at once, the second took the first one's cache away."""
    first = open_dataset(awkward)
    whole, looks = packed._opened, []

    def absent_at_first(path, place):
        looks.append(place)
        return None if len(looks) == 1 else whole(path, place)

    monkeypatch.setattr(packed, "_opened", absent_at_first)
    (place,) = cache.iterdir()
    made = {file.name: file.stat().st_ino for file in place.iterdir()}
    second = open_dataset(awkward)
    assert len(looks) > 1
    assert list(cache.iterdir()) == [place]
    assert {file.name: file.stat().st_ino for file in place.iterdir()} == made
    everything = np.arange(len(first))
    for one, other in zip(first.read(everything), second.read(everything), strict=True):
        np.testing.assert_array_equal(one.system.positions, other.system.positions)


def test_where_nothing_can_be_written_the_file_itself_is_read(awkward, cache):
    cache.parent.parent.mkdir(exist_ok=True)
    cache.parent.write_text("a file, no folder")
    found = open_dataset(awkward)
    assert not isinstance(found._store, PackedStore)
    assert len(found) == 12


def test_small_files_and_links_have_no_cache(awkward, tmp_path, monkeypatch):
    monkeypatch.setenv("TLPOT_CACHE", str(tmp_path / "cache"))
    open_dataset(awkward)
    assert not (tmp_path / "cache").exists()
    with h5py.File(tmp_path / "link.h5", "w") as file, h5py.File(awkward) as source:
        file.attrs.update(source.attrs)
        file["there"] = h5py.ExternalLink("awkward.h5", "/water")
    store = open_store(tmp_path / "link.h5", "atomic_numbers", "coordinates", "*", many=1)
    assert not isinstance(store, PackedStore)


def test_the_oldest_caches_make_room(awkward, cache, tmp_path, monkeypatch):
    open_dataset(awkward)
    monkeypatch.setattr(packed, "LARGEST", 1.0)
    other = tmp_path / "other.h5"
    shutil.copy(awkward, other)
    with h5py.File(other, "a") as file:
        file["water/low.energy"][0] = 7.0
    open_dataset(other)
    (left,) = cache.iterdir()
    assert left.name.startswith(open_dataset(other).content_hash[:32])
