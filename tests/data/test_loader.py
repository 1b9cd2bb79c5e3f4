"""Batches: complete, reproducible, the same for any number of processes."""

import h5py
import numpy as np
import pytest
import torch
from layouts import native_file

from tlpot.data import Loader, collate, open_dataset
from tlpot.errors import ConfigError, DataError, UnknownLevelError

LEVELS = ["gfn2-xtb", "ccsd(t)/cbs"]


@pytest.fixture
def dataset(tmp_path):
    return open_dataset(native_file(tmp_path / "a.h5", n=20))


def make(dataset, **settings):
    defaults = {"levels": LEVELS, "cutoff": 4.0, "batch_size": 7}
    indices = settings.pop("indices", range(len(dataset)))
    return Loader(dataset, indices, **{**defaults, **settings})


def flat(plan):
    return np.concatenate(plan).tolist()


def test_every_frame_once_and_another_order_every_epoch(dataset):
    loader = make(dataset)
    assert sorted(flat(loader.plan(0))) == list(range(40))
    assert flat(loader.plan(0)) == flat(make(dataset).plan(0))
    assert flat(loader.plan(0)) != flat(loader.plan(1))
    assert flat(loader.plan(0)) != flat(make(dataset, seed=1).plan(0))
    sizes = sorted(len(batch) for batch in loader.plan(0))
    assert sizes == [5, 7, 7, 7, 7, 7]  # the last partial batch is kept
    assert loader.n_batches(0) == 6
    assert flat(make(dataset, shuffle=False, indices=[5, 3, 30]).plan(9)) == [5, 3, 30]


def test_other_frames_take_turns(dataset):
    loader = make(dataset, indices=[0, 1, 2], others=range(3, 13), n_others=4)
    parts = [flat(loader.plan(epoch)) for epoch in range(5)]
    assert all(len(part) == 7 and set(part) >= {0, 1, 2} for part in parts)
    turns = [[k for k in part if k > 2] for part in parts]
    # ten frames by fours: two rounds in five epochs, the first ends within the third
    assert len({*turns[0], *turns[1]}) == 8
    assert {*turns[0], *turns[1], *turns[2]} == set(range(3, 13))
    assert sorted(np.concatenate(turns)) == sorted([*range(3, 13)] * 2)
    again = make(dataset, indices=[0, 1, 2], others=range(3, 13), n_others=4)
    assert flat(again.plan(4)) == flat(loader.plan(4))
    assert loader.n_batches(0) == 1
    few = make(dataset, indices=[0], others=[5, 6], n_others=40)
    assert sorted(flat(few.plan(3))) == [0, 5, 6]


def test_other_frames_need_an_order_and_a_label(dataset):
    with pytest.raises(ConfigError, match="n_others is 1"):
        make(dataset, indices=[0], others=[5], n_others=1, shuffle=False)
    with pytest.raises(ConfigError, match="n_others is -1"):
        make(dataset, indices=[0], others=[5], n_others=-1)
    small, large = (np.flatnonzero(dataset.sizes == n) for n in (2, 3))
    with pytest.raises(ConfigError, match="the largest structure has 3"):
        make(dataset, indices=small, others=large, n_others=2, max_atoms=2)


def test_frames_of_one_size_share_a_batch(dataset):
    mixed = [len(set(dataset.sizes[batch])) for batch in make(dataset).plan(0)]
    assert sum(n > 1 for n in mixed) <= 1


def test_the_atom_budget_is_kept(dataset):
    loader = make(dataset, max_atoms=10)
    assert all(dataset.sizes[batch].sum() <= 10 for batch in loader.plan(0))
    assert sorted(flat(loader.plan(0))) == list(range(40))
    assert loader.n_batches(0) == len(list(loader.batches(0)))
    with pytest.raises(ConfigError, match="max_atoms is 2"):
        make(dataset, max_atoms=2)


def test_batches_hold_what_the_plan_says(dataset):
    loader = make(dataset)
    for _ in range(2):  # the second time from memory
        for batch, frames in zip(loader.batches(0), loader.plan(0), strict=True):
            expected = collate(dataset.read(frames), 4.0, LEVELS)
            assert torch.equal(batch.graph.positions, expected.graph.positions)
            assert torch.equal(batch.graph.neighbor, expected.graph.neighbor)
            assert torch.equal(batch.sizes, expected.sizes)
            for level in LEVELS:
                for kind in ("energy", "forces", "stress"):
                    a, b = (getattr(x.targets[level], kind) for x in (batch, expected))
                    assert torch.equal(a.nan_to_num(nan=7.0), b.nan_to_num(nan=7.0))


def test_the_memory_bound_is_kept(dataset, monkeypatch):
    reads = []
    original = type(dataset).read

    def counting(self, indices, levels=None):
        reads.append(len(indices))
        return original(self, indices, levels)

    monkeypatch.setattr(type(dataset), "read", counting)
    some = make(dataset, memo_bytes=25_000)
    list(some.batches(0))
    reads.clear()
    list(some.batches(1))
    assert 0 < sum(reads) < 40
    everything = make(dataset)
    list(everything.batches(0))
    reads.clear()
    list(everything.batches(1))
    assert sum(reads) == 0


def test_starting_within_an_epoch(dataset):
    loader = make(dataset)
    whole = [batch.graph.positions for batch in loader.batches(3)]
    rest = [batch.graph.positions for batch in make(dataset).batches(3, start=4)]
    assert len(rest) == len(whole) - 4
    assert all(torch.equal(a, b) for a, b in zip(whole[4:], rest, strict=True))


def test_ranks_share_the_batches_of_one_process(dataset):
    whole = make(dataset)
    ranks = [make(dataset, rank=r, world_size=3) for r in range(3)]
    assert all(flat(loader.plan(2)) == flat(whole.plan(2)) for loader in ranks)
    for frames, *shares in zip(whole.plan(2), *(x.batches(2) for x in ranks), strict=True):
        for r, share in enumerate(shares):
            expected = dataset.read(frames[r::3])
            energies = [frame.labels["gfn2-xtb"].energy for frame in expected]
            assert share.targets["gfn2-xtb"].energy.tolist() == energies


def test_a_rank_without_frames_gets_none(dataset):
    loader = make(dataset, indices=[0], rank=1, world_size=2)
    assert list(loader.batches(0)) == [None]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"indices": []}, DataError, "no frames to make batches of"),
        ({"batch_size": 0}, ConfigError, "batch_size is 0"),
        ({"rank": 2, "world_size": 2}, ConfigError, "rank 2 is outside"),
        ({"levels": ["pbe"]}, UnknownLevelError, "no level 'pbe'"),
        ({"levels": ["ccsd(t)/cbs"], "indices": [0, 2]}, DataError, "none of the 2 frames"),
    ],
)
def test_mistakes(dataset, settings, error, message):
    with pytest.raises(error, match=message):
        make(dataset, **settings)


def test_a_level_with_forces_only(tmp_path):
    path = native_file(tmp_path / "b.h5")
    with h5py.File(path, "a") as handle:
        for group in handle.values():
            del group["low.energy"]
    dataset = open_dataset(path)
    assert dataset.levels["gfn2-xtb"].kinds == {"forces"}
    (batch,) = make(dataset, levels=["gfn2-xtb"], batch_size=100).batches(0)
    assert batch.targets["gfn2-xtb"].energy.isnan().all()
    assert batch.targets["gfn2-xtb"].forces.isfinite().all()
