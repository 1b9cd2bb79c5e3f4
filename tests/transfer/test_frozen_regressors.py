"""Gaussian process and forest on frozen features: in torch what they are in scikit-learn."""

import importlib.util

import numpy as np
import pytest
import torch
from ase.build import molecule
from transfer_levels import HIGH, LEVEL

from tlpot import TLPotCalculator
from tlpot.data import open_dataset
from tlpot.energy import evaluate, hessian
from tlpot.errors import ConfigError, DataError, MissingExtraError, ModelFileError
from tlpot.graph import build_graph
from tlpot.interfaces.refusal import ForcesRefusedError
from tlpot.models import LIBRARY, from_bytes, to_bytes
from tlpot.system import System
from tlpot.training import error_report, predict
from tlpot.transfer import strategy
from tlpot.transfer.leftover import leftover, missing_energies

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def fitted(situation):
    """A float64 model by name of the strategy, as read from a file."""
    made = {}
    for name, settings in (("frozen-gp", {"restarts": 0}), ("frozen-forest", {"trees": 12})):
        chosen = strategy(name, **settings)
        potential = chosen.finish(chosen.start(situation, HIGH), situation)
        made[name] = from_bytes(to_bytes(potential), dtype=torch.float64).requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def seen(situation):
    """What the regressors were fitted to."""
    return leftover(strategy("shift").start(situation, HIGH), situation, ())


def rows_and_corrections(potential, situation, indices):
    """Energies that a correction adds to frames, as evaluated."""
    plain = from_bytes(to_bytes(potential.only(LEVEL)), dtype=torch.float64)
    del plain.head(LEVEL).corrections[-1]
    with_it, without = (
        missing_energies(p.at(LEVEL), situation.dataset, indices, LEVEL) for p in (potential, plain)
    )
    return without - with_it


def test_the_process_is_that_of_scikit_learn(fitted, seen, situation):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    process = fitted["frozen-gp"].corrections(LEVEL)[0]
    amplitude, length, noise = process.kernel.value.tolist()
    scale = process.scale.value.numpy()
    kernel = ConstantKernel(amplitude) * RBF(length) + WhiteKernel(noise)
    theirs = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None)
    theirs.fit(seen.pooled.rows * scale, seen.targets)

    indices = situation.split.validation
    frames = situation.dataset.read(indices)
    ours = rows_and_corrections(fitted["frozen-gp"], situation, indices)
    model = fitted["frozen-gp"].at(LEVEL)
    graph = build_graph([f.system for f in frames], model.cutoff)
    from tlpot.transfer.pooled import pooled_features

    there = pooled_features(model, situation.dataset, indices, process.info.blocks).rows * scale
    mean, std = theirs.predict(there, return_std=True)
    np.testing.assert_allclose(ours, mean, atol=1e-6)
    np.testing.assert_allclose(model.energy_std(graph).numpy(), std, rtol=1e-5)
    assert (std > 0).all()


def test_leave_one_out_is_what_refitting_gives(fitted, seen):
    process = fitted["frozen-gp"].corrections(LEVEL)[0]
    amplitude, length, noise = process.kernel.value.tolist()
    rows = seen.pooled.rows * process.scale.value.numpy()
    squares = ((rows[:, None] - rows) ** 2).sum(-1)
    covariance = amplitude * np.exp(-squares / (2 * length**2))
    errors = []
    for k in range(len(rows)):
        rest = np.arange(len(rows)) != k
        noisy = covariance[np.ix_(rest, rest)] + noise * np.eye(len(rows) - 1)
        errors.append(seen.targets[k] - covariance[k, rest] @ np.linalg.solve(noisy,
                      seen.targets[rest]))  # fmt: skip
    stated = process.info.fit["leave_one_out_mae_mev"]
    assert stated == pytest.approx(1e3 * np.abs(errors).mean(), rel=1e-3)


def test_forces_of_the_process_are_derivatives_and_turn_with_the_molecule(fitted):
    model = fitted["frozen-gp"].at(LEVEL)
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=1)

    def energy(positions):
        moved = atoms.copy()
        moved.positions = positions
        return evaluate(model, build_graph([System.from_atoms(moved)], 4.5), forces=False).energy

    found = evaluate(model, build_graph([System.from_atoms(atoms)], 4.5))
    plain = evaluate(fitted["frozen-gp"].at("low"), build_graph([System.from_atoms(atoms)], 4.5))
    assert (found.forces - plain.forces).abs().max() > 1e-3
    for atom, axis in ((0, 0), (1, 2), (4, 1)):
        step = np.zeros((6, 3))
        step[atom, axis] = 1e-3
        near, far = ((energy(atoms.positions - k * step) - energy(atoms.positions + k * step))
                     / (2e-3 * k) for k in (1, 2))  # fmt: skip
        slope = (4 * near - far) / 3
        assert found.forces[atom, axis].item() == pytest.approx(slope.item(), abs=1e-6)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    order = [3, 0, 5, 1, 4, 2]
    turned = atoms[order]
    turned.positions = turned.positions @ turn + 7.0
    other = evaluate(model, build_graph([System.from_atoms(turned)], 4.5))
    torch.testing.assert_close(other.energy, found.energy, atol=1e-9, rtol=0)
    expected = found.forces[order] @ torch.from_numpy(turn)
    torch.testing.assert_close(other.forces, expected, atol=1e-9, rtol=0)


def test_far_from_the_training_frames_the_process_adds_nothing(fitted):
    potential = fitted["frozen-gp"]
    crowd = [molecule("CH3CONH2") for _ in range(60)]
    for k, one in enumerate(crowd):
        one.positions += [30.0 * k, 0, 0]
    atoms = sum(crowd[1:], start=crowd[0])
    graph = build_graph([System.from_atoms(atoms)], 4.5)
    both = [evaluate(potential.at(level), graph).forces for level in ("low", LEVEL)]
    torch.testing.assert_close(*both, atol=1e-6, rtol=0)
    process = potential.corrections(LEVEL)[0]
    amplitude, _, noise = process.kernel.value
    std = potential.at(LEVEL).energy_std(graph)
    torch.testing.assert_close(std, (amplitude + noise).sqrt()[None])


def test_the_forest_is_that_of_scikit_learn(fitted, seen, situation):
    from sklearn.ensemble import RandomForestRegressor

    theirs = RandomForestRegressor(12, max_features=1 / 3, random_state=situation.seed)
    theirs.fit(seen.pooled.rows, seen.targets)
    indices = situation.split.validation
    model = fitted["frozen-forest"].at(LEVEL)
    from tlpot.transfer.pooled import pooled_features

    there = pooled_features(model, situation.dataset, indices, ("layer 1", "layer 2")).rows
    ours = rows_and_corrections(fitted["frozen-forest"], situation, indices)
    np.testing.assert_allclose(ours, theirs.predict(there), atol=1e-9)


@pytest.mark.parametrize("name", ["frozen-gp", "frozen-forest"])
def test_a_batch_is_its_members(fitted, name, situation):
    model = fitted[name].at(LEVEL)
    frames = situation.dataset.read(situation.split.validation[:4])
    systems = [frame.system for frame in frames]
    together = evaluate(model, build_graph(systems, 4.5), forces=False).energy
    single = [evaluate(model, build_graph([s], 4.5), forces=False).energy for s in systems]
    torch.testing.assert_close(together, torch.cat(single), atol=1e-9, rtol=0)


def test_a_forest_refuses_derivatives_and_gives_energies(fitted, situation):
    model = fitted["frozen-forest"].at(LEVEL)
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], 4.5)
    with pytest.raises(ConfigError, match="energies only"):
        evaluate(model, graph)
    with pytest.raises(ConfigError, match="energies only"):
        hessian(model, graph)
    atoms = molecule("CH3OH")
    atoms.calc = TLPotCalculator(fitted["frozen-forest"], level=LEVEL)
    expected = evaluate(model, graph, forces=False).energy.item()
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ForcesRefusedError, match="energies only"):
        atoms.get_forces()
    atoms.calc.level = "low"
    assert atoms.get_forces().shape == (6, 3)
    dataset = open_dataset([LIBRARY / "tlpot-qm.h5"], level="gfn2-xtb")
    xtb = predict(model, dataset, situation.split.validation, "gfn2-xtb")
    assert "energy_mae" in error_report(xtb).overall
    assert "forces_mae" not in error_report(xtb).overall


def test_only_a_process_has_a_standard_deviation(fitted, situation):
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], 4.5)
    with pytest.raises(ConfigError, match="no Gaussian process"):
        fitted["frozen-forest"].at(LEVEL).energy_std(graph)
    with pytest.raises(ConfigError, match="no Gaussian process"):
        fitted["frozen-gp"].at("low").energy_std(graph)


@pytest.mark.parametrize("name", ["frozen-gp", "frozen-forest"])
def test_they_fit_their_training_frames_without_the_parents_energy(situation, name):
    chosen = strategy(name, on="total")
    start = chosen.start(situation, HIGH)
    before = missing_energies(start.at(LEVEL), situation.dataset, situation.split.train, LEVEL)
    made = chosen.finish(start, situation)
    after = missing_energies(made.at(LEVEL), situation.dataset, situation.split.train, LEVEL)
    assert np.abs(after).mean() < 0.6 * np.abs(before).mean()


def test_too_many_frames_for_a_process(situation):
    with pytest.raises(DataError, match="24 training frames"):
        strategy("frozen-gp", max_frames=10).start(situation, HIGH)


@pytest.mark.parametrize("name", ["frozen-gp", "frozen-forest"])
def test_without_scikit_learn(situation, monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(MissingExtraError, match=r"tlpot\[sklearn\]"):
        strategy(name).start(situation, HIGH)


@pytest.mark.parametrize("key", ["roots", "branches", "feature"])
def test_a_forest_whose_nodes_lead_nowhere_is_refused(fitted, key):
    damaged = from_bytes(to_bytes(fitted["frozen-forest"]))
    getattr(damaged.corrections(LEVEL)[0], key).view(-1)[0] = 10**6
    with pytest.raises(ModelFileError, match="forest are damaged"):
        from_bytes(to_bytes(damaged))
