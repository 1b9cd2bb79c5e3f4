"""Ensembles: means and spreads of their members, exact files, refusals."""

import copy
import json

import pytest
import safetensors.torch
import torch
from ase.build import molecule

from tlpot.energy import evaluate
from tlpot.errors import ConfigError, ModelFileError, UnknownLevelError
from tlpot.graph import build_graph
from tlpot.models import (
    ENSEMBLE_FORMAT,
    Calibration,
    Ensemble,
    ModelCard,
    Potential,
    describe,
    load,
    load_potential,
    preset,
    save,
    uncertain,
)
from tlpot.system import System

E0 = {"low": {1: -13.6, 8: -2040.1}, "high": {1: -13.5, 8: -2041.7}}


def member(seed, dtype=torch.float64, levels=E0, elements=(1, 8), **changes):
    sizes = preset("tiny", elements, hidden_irreps="4x0e+4x1o", radial_hidden=(), **changes)
    potential = Potential.create(sizes, levels, seed=seed, dtype=dtype)
    potential.card = ModelCard(name=f"seed {seed}", versions={"tlpot": "then"})
    return potential


@pytest.fixture
def members():
    return [member(0), member(1, cutoff=3.0), member(2)]


def batch(cutoff=4.5):
    systems = [System.from_atoms(molecule(name)) for name in ("H2O", "H2O2", "O2")]
    return build_graph([*systems[:2]], cutoff)


def test_means_and_spreads_are_those_of_the_members(members):
    level = Ensemble(members).at("high")
    graph = batch(level.cutoff)
    found, spread = level.predict(graph)
    own = [evaluate(m.at("high"), batch(m.cutoff)) for m in members]  # each on a graph of its own
    energy = torch.stack([o.energy for o in own])
    forces = torch.stack([o.forces for o in own])
    mean, n = energy.sum(dim=0) / 3, 3
    torch.testing.assert_close(found.energy, mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.forces, forces.mean(dim=0), rtol=0, atol=1e-9)
    expected = ((energy - mean).square().sum(dim=0) / (n - 1)).sqrt()
    torch.testing.assert_close(spread.energy_std, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(spread.forces_std, forces.std(dim=0), rtol=1e-6, atol=1e-9)
    assert spread.forces_std.shape == (graph.n_atoms, 3)


def test_predicting_and_evaluating_agree(members):
    level = Ensemble(members).at("low")
    graph = batch()
    found, _ = level.predict(graph)
    other = evaluate(level, graph)
    for name in ("energy", "energies", "forces"):
        torch.testing.assert_close(getattr(found, name), getattr(other, name), rtol=0, atol=1e-9)


def test_a_calibration_scales_both_spreads(members):
    ensemble = Ensemble(members)
    scores = torch.arange(1.0, 31.0)
    scaled = ensemble.with_calibration("high", Calibration(scores, 0.5))
    _, before = ensemble.at("high").predict(batch())
    _, after = scaled.at("high").predict(batch())
    assert scaled.at("high").calibration.factor == 16.0
    assert torch.equal(after.energy_std, 16.0 * before.energy_std)
    assert torch.equal(after.forces_std, 16.0 * before.forces_std)
    _, raw = scaled.at("high").predict(batch(), calibrated=False)
    assert torch.equal(raw.energy_std, before.energy_std)
    assert ensemble.at("high").calibration is None
    assert scaled.at("low").calibration is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip_is_exact(tmp_path, dtype):
    ensemble = Ensemble([member(k, dtype) for k in range(3)])
    ensemble.card = ModelCard(name="three", licence="MIT")
    scores = torch.rand(25, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ensemble = ensemble.with_calibration("high", Calibration(scores))
    ensemble = ensemble.with_calibration("low", Calibration(scores, 0.5, 3.0 * scores[:20]))
    first = save(ensemble, tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors", device="cpu")
    assert isinstance(loaded, Ensemble)
    for level in ensemble.levels:
        (found, spread), (again, other) = (e.at(level).predict(batch()) for e in (ensemble, loaded))
        assert torch.equal(found.energy, again.energy)
        assert torch.equal(found.forces, again.forces)
        assert torch.equal(spread.energy_std, other.energy_std)
        assert torch.equal(spread.forces_std, other.forces_std)
    assert loaded.card.name == "three"
    assert [m.card.name for m in loaded.potentials()] == ["seed 0", "seed 1", "seed 2"]
    assert loaded.potentials()[0].card.versions == {"tlpot": "then"}
    assert (loaded.dtype, loaded.cutoff, loaded.elements) == (dtype, 4.5, (1, 8))
    assert save(loaded, tmp_path / "b.safetensors") == first
    assert describe(tmp_path / "a.safetensors")["levels"] == ["low", "high"]
    with pytest.raises(ModelFileError, match="expected a single potential"):
        load_potential(tmp_path / "a.safetensors", device="cpu")


def rewrite(path, change):
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as handle:
        metadata = json.loads(handle.metadata()[ENSEMBLE_FORMAT])
    change(metadata, tensors)
    safetensors.torch.save_file(tensors, path, {ENSEMBLE_FORMAT: json.dumps(metadata)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, t: m.update(format_version=9), "format version 9"),
        (lambda m, t: m["members"][1].update(format_version=9), "member 2 has format version 9"),
        (lambda m, t: m.update(coupling_fingerprint="x"), "Clebsch"),
        (lambda m, t: m.pop("members"), "damaged"),
        (lambda m, t: m["members"].pop(), "two potentials or more"),
        (lambda m, t: m["members"][0].pop("architecture"), "member 1.*damaged"),
        (lambda m, t: t.pop("members.1.backbone.species"), "member 2 lacks weights"),
        (lambda m, t: t["members.0.backbone.species"].fill_(float("nan")), "member 1.*NaN"),
        (lambda m, t: t.update(stray=torch.zeros(1)), "unknown weights"),
        (lambda m, t: t["calibrations.1.scores.value"].fill_(-1.0), "calibration is damaged"),
        (lambda m, t: t["calibrations.1.coverage.value"].fill_(2.0), "calibration is damaged"),
        (lambda m, t: t.pop("calibrations.1.coverage.value"), "unknown weights"),
    ],
)
def test_damaged_files_are_refused(members, tmp_path, change, message):
    path = tmp_path / "e.safetensors"
    save(Ensemble(members[:2]).with_calibration("high", Calibration(torch.ones(12))), path)
    rewrite(path, change)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path, device="cpu")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: member(1, levels={"low": E0["low"]}), "levels"),
        (lambda: member(1, torch.float32), "precision"),
        (lambda: member(1, charge_spin=True), "charge_spin"),
        (lambda: member(0), "have the same weights"),
        (
            lambda: member(
                1, levels={k: {**v, 6: -1.0} for k, v in E0.items()}, elements=(1, 6, 8)
            ),
            "elements H O and H C O differ",
        ),
    ],
)
def test_members_that_do_not_fit_are_refused(other, message):
    with pytest.raises(ConfigError, match=message):
        Ensemble([member(0), other()])


def test_one_member_or_an_unknown_level_is_refused(members):
    with pytest.raises(ConfigError, match="two potentials or more, found 1"):
        Ensemble(members[:1])
    with pytest.raises(UnknownLevelError, match="no level 'middle'"):
        Ensemble(members).at("middle")


def test_copies_move_and_cast(members):
    ensemble = Ensemble(members).with_calibration("high", Calibration(torch.linspace(0.1, 2, 20)))
    factor = ensemble.at("high").calibration.factor
    single = copy.deepcopy(ensemble).to(dtype=torch.float32)
    assert single.dtype == torch.float32
    assert single.at("high").calibration.factor == factor
    assert uncertain(single.at("low")) is not None
    assert uncertain(members[0].at("low")) is None
