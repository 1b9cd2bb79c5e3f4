"""Strategies: the step-0 model is the parent, and only what should move moves."""

import pytest
import torch
from ase.build import molecule

from tlpot.energy import evaluate
from tlpot.errors import ConfigError
from tlpot.graph import build_graph
from tlpot.models import Potential, preset
from tlpot.system import System
from tlpot.transfer import STRATEGY_NAMES, strategy

LOW = {1: -13.6, 6: -1030.0, 8: -2040.1}
HIGH = {1: -13.5, 6: -1029.0, 8: -2041.7}


@pytest.fixture
def parent():
    return Potential.create(preset("tiny", (1, 6, 8), zbl=True), {"low": LOW}, seed=3)


@pytest.fixture
def graph():
    return build_graph([System.from_atoms(molecule("CH3OH"))], 4.5)


def start(parent, name):
    return strategy(name).start(parent, "high", HIGH, source="low", seed=0)


@pytest.mark.parametrize("name", ["full", "head"])
def test_step_zero_is_the_parent_plus_the_shift_of_reference_energies(parent, graph, name):
    before = evaluate(parent.at("low"), graph)
    after = evaluate(start(parent, name).at("high"), graph)
    shift = sum(HIGH[z] - LOW[z] for z in graph.atomic_numbers.tolist())
    assert torch.equal(after.forces, before.forces)
    assert after.energy.item() == pytest.approx(before.energy.item() + shift, abs=1e-9)


def test_step_zero_with_the_same_references_is_bitwise_the_parent(parent, graph):
    same = strategy("full").start(parent, "high", LOW, source="low", seed=0)
    assert torch.equal(
        evaluate(same.at("high"), graph).energy, evaluate(parent.at("low"), graph).energy
    )


def test_levels_that_are_kept(parent):
    assert start(parent, "full").levels == ("high",)
    assert start(parent, "head").levels == ("low", "high")
    assert start(parent, "scratch").levels == ("high",)
    assert parent.levels == ("low",)


@pytest.mark.parametrize("name", STRATEGY_NAMES)
def test_rates_name_real_weights_and_leave_no_gradient_elsewhere(parent, graph, name):
    potential = start(parent, name)
    rates = strategy(name).rates(potential, "high")
    weights = dict(potential.named_parameters())
    assert set(rates) <= set(weights)
    evaluate(potential.at("high"), graph, forces=False, create_graph=True).energy.sum().backward()
    touched = {key for key, weight in weights.items() if weight.grad is not None}
    assert set(rates) <= touched
    if name == "head":
        assert all(key.startswith("heads.1.") for key in rates)
    else:
        assert set(rates) == set(weights)


def test_scratch_has_the_parents_shape_and_other_weights(parent):
    potential = start(parent, "scratch")
    assert potential.architecture == parent.architecture
    assert not torch.equal(potential.backbone.species, parent.backbone.species)


def test_unknown_strategy():
    with pytest.raises(ConfigError, match="did you mean 'head'"):
        strategy("heads")
