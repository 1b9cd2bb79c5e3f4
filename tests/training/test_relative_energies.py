"""Differences of energies within a molecule in the loss, and batches that hold some."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_toys import CUTOFF, ToyDataset, ToyPotential, everything, make_frames

from tlpot.data import Loader, collate
from tlpot.energy import evaluate
from tlpot.errors import ConfigError
from tlpot.training import LossSettings, Selection, TrainingSettings, train
from tlpot.training.loss import batch_loss, weighted

ALONE = LossSettings(energy=0, forces=0, relative=2.0, kind="mse")


def shifted(frames, seed=0):
    """The same frames with energies off by a constant for each molecule."""
    rng, offsets = np.random.default_rng(seed), {}
    result = []
    for frame in frames:
        offset = offsets.setdefault(frame.group, rng.normal(scale=50.0))
        low = frame.labels["low"]
        result.append(replace(frame, labels={"low": replace(low, energy=low.energy + offset)}))
    return result


def loss_of(potential, frames, settings):
    batch = collate(frames, CUTOFF, ("low",))
    parts = batch_loss(potential, batch, ("low",), settings, training=True)
    return weighted(parts.sums, parts.counts, settings)


def test_offsets_of_molecules_change_nothing():
    potential, frames = ToyPotential(), make_frames(12)
    one, two = (loss_of(potential, some, ALONE) for some in (frames, shifted(frames)))
    assert one.item() > 0
    assert two.item() == pytest.approx(one.item(), rel=1e-9)
    total = LossSettings(forces=0, kind="mse")
    assert loss_of(potential, shifted(frames), total) > 10 * loss_of(potential, frames, total)


def test_the_loss_by_hand():
    potential, frames = ToyPotential(), make_frames(9)
    frames[4] = replace(frames[4], labels={})
    errors = {}
    for frame in frames:
        if "low" in frame.labels:
            found = evaluate(potential.at("low"), collate([frame], CUTOFF, ()).graph).energy
            error = (found.item() - frame.labels["low"].energy) / len(frame.system)
            errors.setdefault(frame.group, []).append(error)
    centred = np.concatenate([np.array(e) - np.mean(e) for e in errors.values() if len(e) > 1])
    expected = 2.0 * np.mean(centred**2)
    assert loss_of(potential, frames, ALONE).item() == pytest.approx(expected)


def test_it_rises_as_the_energy_does():
    both = LossSettings(energy=1.0, relative=3.0)
    assert both.at(0.5).relative == 3.0
    assert both.at(1.0).relative == pytest.approx(300.0)
    assert both.at(1.0).kinds == ("energy", "relative", "forces", "stress", "property")
    assert ALONE.at(1.0) == ALONE
    with pytest.raises(ConfigError, match="negative"):
        LossSettings(relative=-1)


@pytest.mark.parametrize("max_atoms", [None, 24])
def test_batches_hold_several_frames_of_a_molecule(max_atoms):
    dataset = ToyDataset(make_frames(42))
    loader = Loader(
        dataset, range(42), levels=("low",), cutoff=CUTOFF, batch_size=8, together=4,
        max_atoms=max_atoms, level_turns=True,
    )  # fmt: skip
    first, second = loader.plan(0), loader.plan(1)
    for plan in (first, second):
        assert sorted(np.concatenate(plan).tolist()) == list(range(42))
        assert max(map(len, plan)) <= 8
        alone = sum(
            int((np.unique(dataset.group_idx[frames], return_counts=True)[1] == 1).sum())
            for frames in plan
        )
        assert alone <= 2
        if max_atoms is not None:
            assert max(dataset.sizes[frames].sum() for frames in plan) <= max_atoms
    assert not all(np.array_equal(one, two) for one, two in zip(first, second, strict=False)), (
        "a new order"
    )


def test_frames_of_a_molecule_are_at_one_level():
    frames = make_frames(30)
    both = [
        replace(frame, labels={**frame.labels, "high": frame.labels["low"]}) for frame in frames
    ]
    loader = Loader(
        ToyDataset(both), range(30), levels=("low", "high"), cutoff=CUTOFF, batch_size=8,
        together=4, level_turns=True,
    )  # fmt: skip
    for batch in loader.batches(0):
        for molecule in batch.molecule_idx.unique():
            assert len(batch.level_idx[batch.molecule_idx == molecule].unique()) == 1


def test_a_training_on_labels_with_offsets_learns_differences(tmp_path):
    dataset = ToyDataset(shifted(make_frames(48)))
    share = {"levels": ("low",), "cutoff": CUTOFF}
    potential = ToyPotential()
    result = train(
        potential,
        levels=("low",),
        train_loader=Loader(dataset, range(36), batch_size=8, together=4, **share),
        validation_loader=Loader(dataset, range(36, 48), batch_size=12, shuffle=False, **share),
        settings=TrainingSettings(epochs=30, ema=0.5, loss=replace(ALONE, kind="huber")),
        plan=everything(potential),
        run_dir=tmp_path,
        selection=Selection(kinds=("relative",)),
        show=False,
    )
    start, end = result.history[0]["low"], result.history[result.best_epoch]["low"]
    assert end["relative_mae"] < 0.5 * start["relative_mae"]
    assert end["energy_mae"] > 5 * end["relative_mae"]
    assert result.best_score == pytest.approx(end["relative_mae"] / start["relative_mae"])


def test_a_batch_without_two_frames_of_a_molecule_has_no_gradient():
    potential, frames = ToyPotential(), make_frames(3)
    assert len({frame.group for frame in frames}) == 3
    loss = loss_of(potential, frames, ALONE)
    assert loss.item() == 0
    gradients = torch.autograd.grad(loss, list(potential.parameters()), allow_unused=True)
    assert all(g is None or not g.any() for g in gradients)
