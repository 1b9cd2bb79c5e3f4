"""The loss against sums written out by hand, with holes in the labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_toys import CUTOFF, ToyPotential, make_frames

from tlpot.data import Labels, collate
from tlpot.energy import evaluate
from tlpot.training import LossSettings
from tlpot.training.loss import batch_loss, weighted

HUBER = LossSettings(energy=2.0, forces=3.0, energy_delta=0.2, force_delta=0.5)
MSE = LossSettings(energy=2.0, forces=3.0, kind="mse")


@pytest.fixture
def potential():
    return ToyPotential(("low", "high"))


@pytest.fixture
def frames():
    frames = make_frames(6)
    frames[0].labels["low"].forces[1] = np.nan
    hidden = Labels(forces=frames[1].labels["low"].forces)
    frames[1] = replace(frames[1], labels={"low": hidden})
    return frames


def total(potential, frames, settings, levels=("low", "high"), training=True):
    batch = None if frames is None else collate(frames, CUTOFF, levels)
    parts = batch_loss(potential, batch, levels, settings, training=training)
    return weighted(parts.sums, parts.counts, settings), parts


def by_hand(potential, frames, settings):
    """Σ_levels w_E ⟨ρ(ΔE/N)⟩ + w_F ⟨ρ(ΔF)⟩, frame by frame."""

    def rho(x, delta):
        if settings.kind == "mse":
            return x**2
        quadratic = abs(x) <= delta
        return (0.5 * x**2 if quadratic else delta * (abs(x) - 0.5 * delta)) / delta

    result = 0.0
    for level in ("low", "high"):
        energies, forces = [], []
        for frame in frames:
            label = frame.labels.get(level, Labels())
            graph = collate([frame], CUTOFF, ()).graph
            found = evaluate(potential.at(level), graph)
            if np.isfinite(label.energy):
                error = (found.energy.item() - label.energy) / len(frame.system)
                energies.append(rho(error, settings.deltas[0]))
            if label.forces is not None:
                for error in (found.forces.numpy() - label.forces).ravel():
                    if np.isfinite(error):
                        forces.append(rho(error, settings.deltas[1]))
        result += settings.energy * np.mean(energies or [0])
        result += settings.forces * np.mean(forces or [0])
    return result


@pytest.mark.parametrize("settings", [HUBER, MSE])
def test_loss_is_the_sum_written_out_by_hand(potential, frames, settings):
    loss, parts = total(potential, frames, settings)
    assert loss.item() == pytest.approx(by_hand(potential, frames, settings), rel=1e-12)
    n_components = 3 * sum(len(frame.system) for frame in frames) - 3
    assert parts.counts.tolist() == [[5, n_components, 0], [2, 0, 0]]


def test_gradient_agrees_with_finite_differences(potential, frames):
    loss, _ = total(potential, frames, HUBER)
    loss.backward()
    weight = potential.backbone
    for place in [(0, 1, 2), (1, 3, 4), (2, 5, 7)]:
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight[place] += step
                values.append(total(potential, frames, HUBER, training=False)[0].item())
                weight[place] -= step
        numerical = (values[0] - values[1]) / 2e-5
        assert weight.grad[place].item() == pytest.approx(numerical, rel=1e-5, abs=1e-8)


def test_parts_of_a_batch_add_up_to_the_whole(potential, frames):
    whole, parts = total(potential, frames, HUBER)
    _, first = total(potential, frames[:4], HUBER)
    _, second = total(potential, frames[4:], HUBER)
    _, nothing = total(potential, None, HUBER)
    sums = first.sums + second.sums + nothing.sums
    counts = first.counts + second.counts + nothing.counts
    assert torch.equal(counts, parts.counts)
    assert weighted(sums, counts, HUBER).item() == pytest.approx(whole.item(), rel=1e-12)


def test_a_level_without_labels_in_the_batch_is_not_evaluated(potential, frames):
    loss, parts = total(potential, [frames[2]], HUBER)
    loss.backward()
    assert parts.counts[1].tolist() == [0, 0, 0]
    assert potential.heads[0].grad is not None
    assert potential.heads[1].grad is None


def test_nan_predictions_are_not_taken_for_absent_labels(potential, frames):
    with torch.no_grad():
        potential.heads[0][0] = torch.nan
    assert total(potential, frames, HUBER)[0].isnan()


def test_differences_are_taken_in_float64(frames):
    # float32 has steps of 2e-4 eV at 4,000 eV, 100 times the error made here
    potential = ToyPotential(("low",), dtype=torch.float32)
    graph = collate(frames, CUTOFF, ()).graph
    found = evaluate(potential.at("low"), graph)
    labelled = [
        replace(frame, labels={"low": Labels(energy=energy + 2e-6 * len(frame.system))})
        for frame, energy in zip(frames, found.energy.tolist(), strict=True)
    ]
    loss, _ = total(potential, labelled, MSE, levels=("low",))
    assert loss.item() == pytest.approx(MSE.energy * (2e-6) ** 2, rel=1e-3)


def test_stress_counts_where_there_is_a_cell(potential):
    frame = make_frames(1)[0]
    periodic = replace(frame.system, cell=5.0 * np.eye(3), pbc=np.ones(3, dtype=bool))
    graph = collate([replace(frame, system=periodic)], CUTOFF, ()).graph
    stress = evaluate(potential.at("low"), graph, stress=True).stress[0].numpy()
    label = Labels(stress=stress + 0.01)
    settings = replace(MSE, energy=0.0, forces=0.0, stress=5.0)
    loss, parts = total(
        potential, [replace(frame, system=periodic, labels={"low": label})], settings
    )
    assert parts.counts[0].tolist() == [0, 0, 9]
    assert loss.item() == pytest.approx(5.0 * 1e-4, rel=1e-9)
