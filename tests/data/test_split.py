"""Splits: nothing leaks, everything is reproducible, and files know their dataset."""

import errno
import json

import h5py
import numpy as np
import pytest
from layouts import native_file

from tlpot.data import FrameOrder, load_split, make_split, open_dataset, structures_hash
from tlpot.errors import DataError, OutputError, UnknownLevelError


@pytest.fixture
def molecules(tmp_path):
    """Ten molecules of ten frames; frame 9 of each repeats frame 0."""
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "many.h5", "w") as handle:
        for k in range(10):
            group = handle.create_group(f"mol{k}")
            group["species"] = np.array([1] * (k + 2))
            positions = rng.normal(size=(10, k + 2, 3))
            positions[9] = positions[0]
            group["coordinates"] = positions
            group["energies"] = rng.normal(size=10)
            group["temperature"] = np.tile([300, 600], 5)
    return open_dataset(tmp_path / "many.h5", "ani1")


def parts(split):
    return [set(x.tolist()) for x in (split.train, split.validation, split.test)]


def test_by_molecule_keeps_molecules_whole(molecules):
    split = make_split(molecules, validation=0.2, test=30, seed=3)
    assert [len(part) for part in parts(split)] == [50, 20, 30]
    assert set.union(*parts(split)) == set(range(100))
    owners = [{int(molecules.group_idx[k]) for k in part} for part in parts(split)]
    assert not owners[0] & owners[1]
    assert not owners[0] & owners[2]
    assert not owners[1] & owners[2]
    assert split.by == "molecule"


def test_the_seed_decides(molecules):
    one, same, other = (make_split(molecules, seed=s) for s in (1, 1, 2))
    assert parts(one) == parts(same)
    assert parts(one) != parts(other)


def test_random_keeps_identical_structures_together(molecules):
    split = make_split(molecules, by="random", validation=0.25, test=0.25)
    owner = np.zeros(100, dtype=int)
    for k, part in enumerate((split.train, split.validation, split.test)):
        owner[part] = k
    owner = owner.reshape(10, 10)
    assert (owner[:, 0] == owner[:, 9]).all()
    assert len({tuple(row) for row in owner.tolist()}) > 1  # and molecules are divided
    assert abs(len(split.test) - 25) <= 1


def test_random_counts_are_exact_without_repeats(molecules):
    frames = [k for k in range(100) if k % 10 != 9]
    split = make_split(
        molecules, by="random", validation=7, test=13, order=FrameOrder(indices=frames)
    )
    assert [len(part) for part in parts(split)] == [70, 7, 13]
    assert set.union(*parts(split)) == set(frames)


def test_frames_are_held_out_in_turn_and_at_random_among_equals(molecules):
    turn = np.array([2] * 60 + [1] * 20 + [0] * 20)
    one, other = (
        make_split(
            molecules, by="random", validation=25, test=15, seed=seed, order=FrameOrder(turn=turn)
        )
        for seed in (0, 1)
    )
    for split in (one, other):
        assert (turn[split.test] == 0).all()
        assert abs(len(split.test) - 15) <= 1
        assert (turn[split.validation] < 2).all()
    assert parts(one) != parts(other)


def test_what_is_kept_together_waits_for_the_last_of_its_frames(molecules):
    turn = np.where(molecules.group_idx == 2, 0, 1)
    assert {
        int(molecules.group_idx[k])
        for k in make_split(molecules, test=10, order=FrameOrder(turn=turn)).test
    } == {2}
    turn[np.flatnonzero(molecules.group_idx == 2)[0]] = 2
    assert (
        2
        not in molecules.group_idx[
            make_split(molecules, test=90, validation=0, order=FrameOrder(turn=turn)).test
        ]
    )


def test_by_key_and_by_name(molecules):
    split = make_split(molecules, by="key", key="temperature", validation=0, test=["600"])
    assert split.test.tolist() == list(range(1, 100, 2))
    assert len(split.validation) == 0
    split = make_split(molecules, validation=["mol3"], test=["mol0", "mol9"])
    assert split.validation.tolist() == list(range(30, 40))
    assert split.test.tolist() == [*range(10), *range(90, 100)]
    with pytest.raises(DataError, match="did you mean 'mol3'"):
        make_split(molecules, validation=["mol33"])
    with pytest.raises(DataError, match="overlaps"):
        make_split(molecules, validation=["mol3"], test=["mol3"])
    with pytest.raises(DataError, match="needs the name of the array"):
        make_split(molecules, by="key")


def test_only_labelled_frames(tmp_path):
    dataset = open_dataset(native_file(tmp_path / "a.h5", n=20))
    split = make_split(dataset, by="random", labelled="ccsd(t)/cbs")
    used = np.concatenate([split.train, split.validation, split.test])
    assert sorted(used) == np.flatnonzero(dataset.labelled("ccsd(t)/cbs")).tolist()
    with pytest.raises(UnknownLevelError):
        make_split(dataset, labelled="pbe")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 0.5, "test": 0.5}, "nothing is left for training"),
        ({"test": 0.01}, "test would be empty: 0.01 of 100 frames of 10 molecules"),
        ({"by": "random", "test": 0.001}, "test would be empty"),
        ({"by": "random", "test": 500}, "test is 500 frames, but there are only 100 to divide"),
        ({"test": -1}, "test is -1"),
        ({"test": 1.5}, "test is 1.5"),
        ({"order": FrameOrder(indices=[])}, "no frames to split"),
        ({"order": FrameOrder(indices=[100])}, "an index is outside"),
        ({"by": "random", "test": ["mol1"]}, "cannot take names"),
    ],
)
def test_empty_parts_and_other_mistakes(molecules, settings, message):
    with pytest.raises(DataError, match=message):
        make_split(molecules, **settings)


def test_subsets_are_nested(molecules):
    split = make_split(molecules)
    sets = [set(split.subset(n).tolist()) for n in (1, 5, 20, len(split.train))]
    assert sets[0] < sets[1] < sets[2] < sets[3] == set(split.train.tolist())
    for n in (0, len(split.train) + 1):
        with pytest.raises(DataError, match="cannot take"):
            split.subset(n)


def test_saving_and_loading(molecules, tmp_path, monkeypatch):
    split = make_split(molecules, seed=5)
    split.save(tmp_path / "split.json")
    again = load_split(tmp_path / "split.json", molecules)
    assert parts(again) == parts(split)
    assert (again.seed, again.by) == (5, "molecule")
    np.testing.assert_array_equal(again.subset(7), split.subset(7))
    with pytest.raises(DataError, match="SHA-256"):
        load_split(tmp_path / "split.json", open_dataset(native_file(tmp_path / "a.h5")))

    content = json.loads((tmp_path / "split.json").read_text())
    for change, message in (
        ({"test": [100]}, "does not have"),
        ({"test": content["train"]}, "more than once"),
        ({"train": "all"}, "not a split"),
    ):
        (tmp_path / "bad.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(DataError, match=message):
            load_split(tmp_path / "bad.json", molecules)
    with pytest.raises(DataError, match="no such file"):
        load_split(tmp_path / "absent.json", molecules)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OutputError, match="No space left"):
        split.save(tmp_path / "split.json")
    assert json.loads((tmp_path / "split.json").read_text()) == content


def changed(path, target, key, by):
    """A copy of a file with one number of the first group that has the key changed."""
    target.write_bytes(path.read_bytes())
    with h5py.File(target, "a") as file:
        group = next(file[name] for name in file if key in file[name])
        group[key][(0,) * group[key].ndim] += by
    return open_dataset(target)


@pytest.mark.fault
def test_a_split_divides_the_same_structures_with_other_labels(tmp_path):
    path = native_file(tmp_path / "a.h5")
    dataset = open_dataset(path)
    split = make_split(dataset, by="random", validation=0.3, test=0.0)
    split.save(tmp_path / "split.json", structures_hash(dataset))
    more = changed(path, tmp_path / "b.h5", "low.energy", 1e-3)
    assert more.content_hash != dataset.content_hash
    again = load_split(tmp_path / "split.json", more)
    assert (parts(again), again.content_hash) == (parts(split), more.content_hash)
    moved = changed(path, tmp_path / "c.h5", "coordinates", 1e-3)
    with pytest.raises(DataError, match="not the same structures"):
        load_split(tmp_path / "split.json", moved)
