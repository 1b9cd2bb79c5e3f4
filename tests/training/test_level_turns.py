"""One training of several levels: each frame is at one of its levels at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_toys import CUTOFF, ToyDataset, make_frames

from tlpot.data import Loader, collate
from tlpot.energy import evaluate
from tlpot.models import Potential, preset
from tlpot.training import LossSettings
from tlpot.training.loss import batch_loss, weighted

LEVELS = ("low", "high")
SETTINGS = LossSettings(energy=2.0, forces=3.0)


@pytest.fixture
def dataset():
    """A third of the frames has both levels, a few have the second alone, one has none."""
    frames = make_frames(24)
    for k in (3, 9, 15):
        frames[k] = replace(frames[k], labels={"high": frames[k].labels["high"]})
    frames[1] = replace(frames[1], labels={})
    return ToyDataset(frames)


@pytest.fixture
def potential():
    sizes = preset("tiny", (1, 8), hidden_irreps="4x0e+4x1o", cutoff=CUTOFF)
    e0 = {1: -1.0, 8: -2.0}
    return Potential.create(sizes, dict.fromkeys(LEVELS, e0), dtype=torch.float64)


def loader(dataset, **options):
    return Loader(
        dataset, range(len(dataset)), levels=LEVELS, cutoff=CUTOFF, batch_size=5, **options
    )


def seen(dataset, epoch, **options):
    """The level of each frame in an epoch."""
    turns = loader(dataset, level_turns=True, **options)
    found = {}
    for frames, batch in zip(turns.plan(epoch), turns.batches(epoch), strict=True):
        labelled = np.stack([batch.targets[level].energy.isfinite() for level in LEVELS])
        assert (labelled.sum(axis=0) <= 1).all(), "one level at a time"
        for k, column, level in zip(frames, labelled.T, batch.level_idx, strict=True):
            assert not column.any() or column[level]
            found[int(k)] = LEVELS[int(column.argmax())] if column.any() else ""
    return found


def test_levels_take_turns_from_epoch_to_epoch(dataset):
    first, second = seen(dataset, 0), seen(dataset, 1)
    for k, frame in enumerate(dataset.frames):
        assert {first[k], second[k]} == (set(frame.labels) or {""})
    both = [k for k, frame in enumerate(dataset.frames) if len(frame.labels) == 2]
    assert len({first[k] for k in both}) == 2, "not all begin with the same level"
    assert seen(dataset, 0) == first, "the same again"
    assert seen(dataset, 0, seed=1) != first


def test_the_loss_is_that_of_the_labels_whose_turn_it_is(dataset, potential):
    for batch in loader(dataset, level_turns=True).batches(0):
        parts = batch_loss(potential, batch, LEVELS, SETTINGS, training=True)
        apart = batch_loss(potential, replace(batch, level_idx=None), LEVELS, SETTINGS,
                           training=True)  # fmt: skip
        assert torch.allclose(parts.sums, apart.sums, rtol=1e-12)
        assert torch.equal(parts.counts, apart.counts)
        weights = [p for name, p in potential.named_parameters() if "backbone" in name]
        mine, other = (
            torch.autograd.grad(found.sums.sum(), weights, allow_unused=True)
            for found in (parts, apart)
        )
        for one, two in zip(mine, other, strict=True):
            assert (one is None and two is None) or torch.allclose(one, two, rtol=1e-9, atol=1e-12)


def test_each_label_counts_alike(dataset, potential):
    batch = next(loader(dataset, level_turns=True).batches(0))
    parts = batch_loss(potential, batch, LEVELS, SETTINGS, training=True)
    parts = replace(parts, sums=parts.sums.detach())
    total = parts.sums.sum(dim=0) / parts.counts.sum(dim=0).clamp(min=1)
    expected = float(2.0 * total[0] + 3.0 * total[1])
    found = weighted(parts.sums, parts.counts, SETTINGS, pooled=True)
    assert float(found) == pytest.approx(expected)
    doubled = weighted(parts.sums, parts.counts, SETTINGS, (1.0, 2.0), pooled=True)
    second = weighted(parts.sums[1:], parts.counts.sum(0, keepdim=True), SETTINGS)
    assert float(doubled - found) == pytest.approx(float(second))


def test_a_level_that_does_not_know_an_element_is_not_asked(potential):
    sizes = preset("tiny", (1, 8), hidden_irreps="4x0e+4x1o", cutoff=CUTOFF)
    e0 = {"low": {1: -1.0, 8: -2.0}, "high": {1: -1.0, 8: float("nan")}}
    partial = Potential.create(sizes, e0, dtype=torch.float64)
    frames = make_frames(6)
    hydrogen = replace(
        frames[0].system, atomic_numbers=np.ones_like(frames[0].system.atomic_numbers)
    )
    frames[0] = replace(frames[0], system=hydrogen)
    for frame in frames[1:]:
        frame.labels.pop("high", None)
    batch = collate(frames, CUTOFF, LEVELS)
    parts = batch_loss(partial, batch, LEVELS, SETTINGS, training=False)
    assert parts.counts[1].tolist()[0] == 1
    assert bool(parts.sums.isfinite().all())
    alone = evaluate(partial.at("high"), collate(frames[:1], CUTOFF, ()).graph).energy
    error = abs(float(alone) - frames[0].labels["high"].energy)
    assert parts.metrics["high"].table()["energy_mae"] == pytest.approx(1e3 * error)
