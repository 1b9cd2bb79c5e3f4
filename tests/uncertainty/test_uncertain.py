"""Deviations and rigidities from the frames of a dataset; potentials and labels are toys."""

import numpy as np
import pytest
import torch
from training_toys import ToyDataset, make_frames

from tlpot.data import Frame, Labels
from tlpot.energy import evaluate
from tlpot.errors import DataError
from tlpot.graph import build_graph
from tlpot.models import Ensemble, Potential, preset, system_features
from tlpot.system import System
from tlpot.uncertainty import deviations, fit_rigidity

E0 = {"low": {1: -13.6, 8: -2040.0}, "high": {1: -13.5, 8: -2040.0}}


def potential(seed=0):
    sizes = preset("tiny", (1, 8), hidden_irreps="4x0e+4x1o", radial_hidden=(), readout_hidden=4)
    return Potential.create(sizes, E0, seed=seed, dtype=torch.float64)


@pytest.fixture
def dataset():
    return ToyDataset(make_frames(24))


def test_deviations_are_errors_beside_raw_standard_deviations(dataset):
    level = Ensemble([potential(0), potential(1)]).at("low")
    found = deviations(level, dataset, range(6), "low", batch_size=4)
    frames = sorted(dataset.frames[:6], key=lambda frame: len(frame.system))
    errors, stds, forces = [], [], []
    for frame in frames:
        one, spread = level.predict(build_graph([frame.system], level.cutoff))
        errors.append(float(one.energy) - frame.labels["low"].energy)
        stds.append(float(spread.energy_std))
        forces.append((one.forces.numpy() - frame.labels["low"].forces).reshape(-1))
    np.testing.assert_allclose(found.energy, errors, atol=1e-9)
    np.testing.assert_allclose(found.energy_std, stds, rtol=1e-6)
    np.testing.assert_allclose(found.forces, np.concatenate(forces), atol=1e-9)
    np.testing.assert_allclose(found.scores, np.abs(errors) / stds, rtol=1e-6)
    assert found.n_molecules == 3
    owners = [np.full(3 * len(frame.system), k) for k, frame in enumerate(frames)]
    assert np.array_equal(found.force_frames, np.concatenate(owners))


def test_a_last_layer_is_asked_for_its_forces_only_on_demand(dataset):
    level = potential().at("low")
    rigidity = fit_rigidity(level, dataset, range(16), range(16, 24))
    level = potential().with_rigidity("low", rigidity).at("low")
    assert not len(deviations(level, dataset, range(4), "low").forces)
    found = deviations(level, dataset, range(4), "low", forces_std=True)
    n_components = 3 * sum(len(frame.system) for frame in dataset.frames[:4])
    assert len(found.forces) == len(found.forces_std) == n_components
    assert (found.forces_std > 0).any()


def test_frames_without_an_energy_are_left_out(dataset):
    level = Ensemble([potential(0), potential(1)]).at("high")
    found = deviations(level, dataset, range(9), "high")
    assert len(found.energy) == 3  # every third has a label
    assert not len(found.forces)
    with pytest.raises(DataError, match="energy at high"):
        deviations(level, dataset, [1, 2], "high")


def test_a_model_that_is_certain_cannot_be_calibrated(dataset):
    atom = System(
        atomic_numbers=np.array([8]),
        positions=np.zeros((1, 3)),
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, dtype=bool),
    )
    labels = {"low": Labels(energy=-2040.0)}
    dataset.frames.append(Frame(system=atom, labels=labels, group="atom", name="toy.h5[24]"))
    level = Ensemble([potential(0), potential(1)]).at("low")
    with pytest.raises(DataError, match=r"1 of 25 frames, such as toy.h5\[24\]"):
        deviations(level, dataset, range(25), "low")


def test_a_rigidity_holds_the_training_frames(dataset):
    level = potential().at("low")
    rigidity = fit_rigidity(level, dataset, range(16), range(16, 24), batch_size=5)
    systems = [frame.system for frame in dataset.frames[:16]]
    rows = system_features(level.features, build_graph(systems, level.cutoff)).detach()
    factor = rigidity.cholesky.value
    rest = factor @ factor.mT - rows.mT @ rows
    regularisation = rest.diagonal().mean()
    largest = torch.linalg.eigvalsh(rows.mT @ rows)[-1]
    assert 0 < regularisation <= largest
    eye = torch.eye(len(rest), dtype=rest.dtype)
    torch.testing.assert_close(rest, regularisation * eye, rtol=0, atol=1e-12 * float(largest))
    # the model itself is untouched
    assert not level.has_uncertainty
    graph = build_graph(systems[:1], level.cutoff)
    assert torch.equal(evaluate(level, graph).energy, evaluate(potential().at("low"), graph).energy)
    with pytest.raises(DataError, match="energy at high"):
        fit_rigidity(potential().at("high"), dataset, [1], [0])
