"""Gaussian process and forest on frozen features: in torch what they are in scikit-learn."""

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch
from ase.build import molecule
from needs import needs
from transfer_levels import HIGH, LEVEL

from tlpot.calculators import TLPotCalculator
from tlpot.data import open_dataset
from tlpot.energy import ForcesRefusedError, evaluate, has_forces, hessian
from tlpot.errors import ConfigError, DataError, MissingExtraError, ModelFileError
from tlpot.evaluation import error_report, predict
from tlpot.graph import build_graph
from tlpot.models import (
    LIBRARY,
    Ensemble,
    LastLayerRigidity,
    from_bytes,
    pool_features,
    to_bytes,
    uncertain,
)
from tlpot.models.features import select_features
from tlpot.system import System
from tlpot.transfer import missing_energies, strategy
from tlpot.transfer.residuals import residuals
from tlpot.uncertainty import deviations, fit_rigidity

needs("sklearn")


@pytest.fixture(scope="module")
def fitted(context):
    """A float64 model by name of the strategy, as read from a file."""
    made = {}
    for name, settings in (("frozen-gp", {"restarts": 0}), ("frozen-forest", {"trees": 12})):
        chosen = strategy(name, **settings)
        potential = chosen.finish(chosen.start(context, HIGH), context)
        made[name] = from_bytes(to_bytes(potential), dtype=torch.float64).requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def seen(context):
    """What the regressors were fitted to."""
    return residuals(strategy("shift").start(context, HIGH), context, ())


def rows_and_corrections(potential, context, indices):
    """Energies that a correction adds to frames, as evaluated."""
    plain = from_bytes(to_bytes(potential.only(LEVEL)), dtype=torch.float64)
    del plain.head(LEVEL).corrections[-1]
    with_it, without = (
        missing_energies(p.at(LEVEL), context.dataset, indices, LEVEL) for p in (potential, plain)
    )
    return without - with_it


def test_the_process_is_that_of_scikit_learn(fitted, seen, context):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    process = fitted["frozen-gp"].corrections(LEVEL)[0]
    amplitude, length, noise = process.kernel.value.tolist()
    scale = process.scale.value.numpy()
    kernel = ConstantKernel(amplitude) * RBF(length) + WhiteKernel(noise)
    theirs = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None)
    theirs.fit(seen.pooled.rows * scale, seen.targets)

    indices = context.split.validation
    frames = context.dataset.read(indices)
    ours = rows_and_corrections(fitted["frozen-gp"], context, indices)
    model = fitted["frozen-gp"].at(LEVEL)
    graph = build_graph([f.system for f in frames], model.cutoff)
    from tlpot.transfer import pooled_features

    there = pooled_features(model, context.dataset, indices, process.info.blocks).rows * scale
    mean, std = theirs.predict(there, return_std=True)
    np.testing.assert_allclose(ours, mean, atol=1e-6)
    np.testing.assert_allclose(
        model.predict(graph, forces=False)[1].energy_std.numpy(), std, rtol=1e-5
    )
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

    def graph(atoms):
        return build_graph([System.from_atoms(atoms)], model.cutoff)

    def energy(positions):
        moved = atoms.copy()
        moved.positions = positions
        return evaluate(model, graph(moved), forces=False).energy

    found = evaluate(model, graph(atoms))
    plain = evaluate(fitted["frozen-gp"].at("low"), graph(atoms))
    assert (found.forces - plain.forces).abs().max() > 1e-3
    for atom, axis in ((0, 0), (1, 2), (4, 1)):
        step = np.zeros((6, 3))
        # the weights of a process are large and cancel, and so does rounding, up to 1e-8 eV
        step[atom, axis] = 2e-3
        near, far = ((energy(atoms.positions - k * step) - energy(atoms.positions + k * step))
                     / (4e-3 * k) for k in (1, 2))  # fmt: skip
        slope = (4 * near - far) / 3
        expected = pytest.approx(slope.item(), abs=5e-6, rel=1e-5)
        assert found.forces[atom, axis].item() == expected
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    order = [3, 0, 5, 1, 4, 2]
    turned = atoms[order]
    turned.positions = turned.positions @ turn + 7.0
    other = evaluate(model, graph(turned))
    torch.testing.assert_close(other.energy, found.energy, atol=5e-8, rtol=0)
    expected = found.forces[order] @ torch.from_numpy(turn)
    torch.testing.assert_close(other.forces, expected, atol=1e-6, rtol=0)


def test_far_from_the_training_frames_the_process_adds_nothing(fitted):
    potential = fitted["frozen-gp"]
    n = 60 if potential.architecture.isolated_at_reference else 240  # its process reaches further
    crowd = [molecule("CH3CONH2") for _ in range(n)]
    for k, one in enumerate(crowd):
        one.positions += [30.0 * k, 0, 0]
    atoms = sum(crowd[1:], start=crowd[0])
    graph = build_graph([System.from_atoms(atoms)], potential.cutoff)
    both = [evaluate(potential.at(level), graph).forces for level in ("low", LEVEL)]
    torch.testing.assert_close(*both, atol=1e-6, rtol=0)
    process = potential.corrections(LEVEL)[0]
    amplitude, _, noise = process.kernel.value
    std = potential.at(LEVEL).predict(graph)[1].energy_std
    torch.testing.assert_close(std, (amplitude + noise).sqrt()[None])


def test_the_forest_is_that_of_scikit_learn(fitted, seen, context):
    from sklearn.ensemble import RandomForestRegressor

    theirs = RandomForestRegressor(12, max_features=1 / 3, random_state=context.seed)
    theirs.fit(seen.pooled.rows, seen.targets)
    indices = context.split.validation
    model = fitted["frozen-forest"].at(LEVEL)
    from tlpot.transfer import pooled_features

    there = pooled_features(model, context.dataset, indices, ("layer 1", "layer 2")).rows
    ours = rows_and_corrections(fitted["frozen-forest"], context, indices)
    np.testing.assert_allclose(ours, theirs.predict(there), atol=1e-9)


@pytest.mark.parametrize("name", ["frozen-gp", "frozen-forest"])
def test_a_batch_is_its_members(fitted, name, context):
    model = fitted[name].at(LEVEL)
    frames = context.dataset.read(context.split.validation[:4])
    systems = [frame.system for frame in frames]
    together = evaluate(model, build_graph(systems, model.cutoff), forces=False).energy
    apart = [build_graph([s], model.cutoff) for s in systems]
    single = [evaluate(model, graph, forces=False).energy for graph in apart]
    torch.testing.assert_close(together, torch.cat(single), atol=5e-8, rtol=0)


def test_a_forest_refuses_derivatives_and_gives_energies(fitted, context):
    model = fitted["frozen-forest"].at(LEVEL)
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], model.cutoff)
    with pytest.raises(ForcesRefusedError, match="energies only"):
        evaluate(model, graph)
    with pytest.raises(ForcesRefusedError, match="energies only"):
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
    xtb = predict(model, dataset, context.split.validation, "gfn2-xtb")
    assert "energy_mae" in error_report(xtb).overall
    assert "forces_mae" not in error_report(xtb).overall


def posterior(process, rows, others):
    """Covariance of a process between scaled rows, after its training frames."""
    amplitude, length, noise = process.kernel.value.tolist()
    centers = process.centers.value.numpy()

    def kernel(a, b):
        return amplitude * np.exp(-((a[:, None] - b) ** 2).sum(-1) / (2 * length**2))

    noisy = kernel(centers, centers) + noise * np.eye(len(centers))
    known = kernel(rows, centers) @ np.linalg.solve(noisy, kernel(centers, others))
    return kernel(rows, others) - known


def test_deviations_of_forces_are_those_of_differences_of_energies(fitted):
    model, process = fitted["frozen-gp"].at(LEVEL), fitted["frozen-gp"].corrections(LEVEL)[0]
    systems = []
    for name, seed in (("CH3OH", 1), ("H2O", 2)):
        atoms = molecule(name)
        atoms.rattle(0.1, seed=seed)
        systems.append(System.from_atoms(atoms))
    graph = build_graph(systems, model.cutoff)
    found, spread = model.predict(graph, forces_std=True)
    plain = evaluate(model, graph)
    assert torch.equal(found.energy, plain.energy)
    assert torch.equal(found.forces, plain.forces)
    again = model.predict(graph, forces=False)
    assert again[0].forces is None
    assert again[1].forces_std is None
    torch.testing.assert_close(again[1].energy_std, spread.energy_std)

    def rows(atom, axis, step):
        positions = graph.positions.clone()
        positions[atom, axis] += step
        moved = dataclasses.replace(graph, positions=positions)
        species, scalars, _ = model.invariants(moved)
        features = select_features(
            scalars, model.potential.head(LEVEL).readout, process.info.blocks
        )
        pooled = pool_features(features, species, moved.system_idx, 2, process.n_elements)
        return pooled.flatten(1).numpy() * process.scale.value.numpy()

    step = 1e-3
    for atom, axis, system in ((0, 0, 0), (1, 2, 0), (4, 1, 0), (6, 2, 1), (8, 1, 1)):
        ends = np.stack([rows(atom, axis, k * step)[system] for k in (1, -1)])
        (a, b), (c, d) = posterior(process, ends, ends)
        expected = np.sqrt(a + d - b - c) / (2 * step)
        rounding = np.sqrt(64 * np.finfo(float).eps * process.kernel.value[0].item()) / (2 * step)
        found_std = spread.forces_std[atom, axis].item()
        assert found_std == pytest.approx(expected, rel=1e-3, abs=rounding)


def test_the_calculator_reports_the_deviations_of_a_process(fitted):
    atoms = molecule("CH3OH")
    atoms.calc = TLPotCalculator(fitted["frozen-gp"], level=LEVEL)
    assert {"energy_std", "forces_std"} <= set(atoms.calc.implemented_properties)
    graph = build_graph([System.from_atoms(atoms)], fitted["frozen-gp"].cutoff)
    _, spread = fitted["frozen-gp"].at(LEVEL).predict(graph, forces_std=True)
    atoms.get_forces()
    assert atoms.calc.results["energy_std"] == pytest.approx(spread.energy_std.item())
    found = atoms.calc.get_property("forces_std", atoms)
    np.testing.assert_allclose(found, spread.forces_std.numpy(), rtol=1e-6, atol=1e-9)
    atoms.calc.level = "low"
    atoms.get_forces()
    assert "energy_std" not in atoms.calc.results


def test_only_a_process_has_a_standard_deviation(fitted):
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], fitted["frozen-gp"].cutoff)
    assert uncertain(fitted["frozen-gp"].at(LEVEL)) is not None
    for model in (fitted["frozen-forest"].at(LEVEL), fitted["frozen-gp"].at("low")):
        assert uncertain(model) is None
        with pytest.raises(ConfigError, match="no uncertainty"):
            model.predict(graph, forces=False)


def test_a_process_forgets_its_deviations_with_another_level_or_other_weights(fitted):
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], fitted["frozen-gp"].cutoff)
    parent = fitted["frozen-gp"]
    expected = evaluate(parent.at(LEVEL), graph).energy
    for potential, level in (
        (parent.with_level("higher", HIGH, parent=LEVEL), "higher"),
        (parent.without_uncertainty(), LEVEL),
    ):
        restored = from_bytes(to_bytes(potential), dtype=torch.float64)
        for one in (potential, restored):
            assert uncertain(one.at(level)) is None
            if level == LEVEL:
                assert torch.equal(evaluate(one.at(level), graph).energy, expected)
    assert uncertain(parent.at(LEVEL)) is not None


@pytest.mark.parametrize("name", ["frozen-gp", "frozen-forest"])
def test_the_last_layer_of_a_corrected_level_is_refused(fitted, context, name):
    potential, split = fitted[name], context.split
    with pytest.raises(ConfigError, match="has corrections in closed form"):
        fit_rigidity(potential.at(LEVEL), context.dataset, split.train, split.validation)
    n = len(potential.head(LEVEL).readout.last_weights())
    rigidity = LastLayerRigidity(torch.eye(n, dtype=torch.float64))
    with pytest.raises(ConfigError, match="would know nothing"):
        potential.with_rigidity(LEVEL, rigidity)
    assert uncertain(potential.with_rigidity("low", rigidity).at("low")) is not None


def test_corrected_members_form_an_ensemble_if_their_corrections_differ(context):
    members = []
    for seed in (0, 1):
        chosen = strategy("frozen-forest", trees=8)
        moved = dataclasses.replace(context, seed=seed)
        members.append(chosen.finish(chosen.start(moved, HIGH), moved).double())
    graph = build_graph([System.from_atoms(molecule("CH3OH"))], members[0].cutoff)
    joined = Ensemble(members).at(LEVEL)
    assert not has_forces(joined)
    means, spread = joined.predict(graph, forces=False)
    single = [evaluate(m.at(LEVEL), graph, forces=False).energy for m in members]
    torch.testing.assert_close(means.energy, torch.stack(single).mean(dim=0))
    assert spread.energy_std > 0
    indices = context.split.validation
    assert len(deviations(joined, context.dataset, indices, LEVEL).energy) == len(indices)
    with pytest.raises(ConfigError, match="have the same weights"):
        Ensemble([members[0], members[0].without_uncertainty()])


@pytest.mark.parametrize("name", ["frozen-gp", "frozen-forest"])
def test_they_fit_their_training_frames_without_the_parents_energy(context, name):
    chosen = strategy(name, on="total")
    start = chosen.start(context, HIGH)
    before = missing_energies(start.at(LEVEL), context.dataset, context.split.train, LEVEL)
    made = chosen.finish(start, context)
    after = missing_energies(made.at(LEVEL), context.dataset, context.split.train, LEVEL)
    assert np.abs(after).mean() < 0.6 * np.abs(before).mean()


def test_too_many_frames_for_a_process(context):
    with pytest.raises(DataError, match="24 training frames"):
        strategy("frozen-gp", max_frames=10).start(context, HIGH)


@pytest.mark.parametrize("name", ["frozen-gp", "frozen-forest"])
def test_without_scikit_learn(context, monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(MissingExtraError, match=r"tlpot\[sklearn\]"):
        strategy(name).start(context, HIGH)


@pytest.mark.parametrize("key", ["roots", "branches", "feature"])
def test_a_forest_whose_nodes_lead_nowhere_is_refused(fitted, key):
    damaged = from_bytes(to_bytes(fitted["frozen-forest"]))
    getattr(damaged.corrections(LEVEL)[0], key).view(-1)[0] = 10**6
    with pytest.raises(ModelFileError, match="forest are damaged"):
        from_bytes(to_bytes(damaged))
