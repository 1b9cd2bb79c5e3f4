"""Strategies: step 0 is the parent, only what should move moves, and it is saved whole."""

import math

import pytest
import torch
from transfer_levels import HIGH, LEVEL, LOW

from tlpot.energy import evaluate
from tlpot.errors import ConfigError
from tlpot.models import channel_maps, from_bytes, parameter_blocks, to_bytes
from tlpot.transfer import STRATEGY_NAMES as ALL_NAMES
from tlpot.transfer import strategy, strategy_settings

# a strategy that learns a difference has other levels; see test_delta.py
STRATEGY_NAMES = [name for name in ALL_NAMES if not strategy(name).learns_difference]
INHERITING = [name for name in STRATEGY_NAMES if strategy(name).inherits]
MOVING = [name for name in STRATEGY_NAMES if strategy(name).defaults is not None]


@pytest.mark.parametrize("name", INHERITING)
def test_step_zero_is_the_parent_plus_the_shift_of_reference_energies(context, graph, name):
    before = evaluate(context.parent.at("low"), graph)
    after = evaluate(strategy(name).start(context, HIGH).at(LEVEL), graph)
    shift = sum(HIGH[z] - LOW[z] for z in graph.atomic_numbers.tolist())
    assert torch.equal(after.forces, before.forces)
    assert after.energy.item() == pytest.approx(before.energy.item() + shift, abs=1e-9)


@pytest.mark.parametrize("name", INHERITING)
def test_step_zero_with_the_same_references_is_bitwise_the_parent(context, graph, name):
    same = strategy(name).start(context, LOW)
    before = evaluate(context.parent.at("low"), graph).energy
    assert torch.equal(evaluate(same.at(LEVEL), graph).energy, before)


@pytest.mark.parametrize("name", STRATEGY_NAMES)
def test_the_parent_is_left_alone(context, name):
    before = to_bytes(context.parent)
    chosen = strategy(name)
    potential = chosen.start(context, HIGH)
    chosen.finish(potential, context)
    assert to_bytes(context.parent) == before
    # a joint training keeps the levels that it learns, and there is but one here
    kept = ("low", LEVEL) if chosen.keeps_levels and name != "multihead" else (LEVEL,)
    assert potential.levels == kept


@pytest.mark.parametrize("name", MOVING)
def test_rates_name_real_weights_that_matter(context, graph, name):
    chosen = strategy(name)
    potential = chosen.start(context, HIGH).requires_grad_(True)
    rates, release = chosen.rates(potential, LEVEL), chosen.release(potential, LEVEL)
    weights = dict(potential.named_parameters())
    assert set(release) <= set(rates) <= set(weights)
    for level in potential.levels if name == "replay" else (LEVEL,):
        found = evaluate(potential.at(level), graph, forces=False, create_graph=True)
        found.energy.sum().backward()
    touched = {key for key, weight in weights.items() if weight.grad is not None}
    assert set(rates) <= touched


@pytest.mark.parametrize("name", MOVING)
def test_what_moved_is_saved_in_an_ordinary_file(context, graph, nudge, name):
    chosen = strategy(name)
    potential = chosen.start(context, HIGH)
    start = evaluate(potential.at(LEVEL), graph).energy
    nudge(potential, chosen.rates(potential, LEVEL))
    trained = evaluate(potential.at(LEVEL), graph)
    saved = to_bytes(chosen.finish(potential, context))
    loaded = evaluate(from_bytes(saved, name="a file").at(LEVEL), graph)
    assert not torch.equal(trained.energy, start)
    torch.testing.assert_close(loaded.energy, trained.energy, rtol=0, atol=1e-4)
    torch.testing.assert_close(loaded.forces, trained.forces, rtol=0, atol=1e-4)


def moving_blocks(name, context, **settings):
    chosen = strategy(name, **settings)
    potential = chosen.start(context, HIGH)
    rates = chosen.rates(potential, LEVEL)
    blocks = parameter_blocks(potential, LEVEL)
    return {b: {rates[n] for n in names if n in rates} for b, names in blocks.items()}


def test_blocks_that_move(context):
    frozen = moving_blocks("freeze", context)
    assert [block for block, rates in frozen.items() if rates] == [
        "product 1", "product 2", "readout",
    ]  # fmt: skip
    chosen = moving_blocks("freeze", context, fixed=("interaction 2", "readout"))
    assert [b for b, rates in chosen.items() if not rates] == ["interaction 2", "readout"]
    head = moving_blocks("head", context)
    assert [block for block, rates in head.items() if rates] == ["readout"]
    assert not any(moving_blocks("shift", context).values())


def test_rates_fall_towards_the_input(context):
    rates = moving_blocks("discriminative", context, decay=0.5, factors={"product 2": 0.0})
    assert rates["readout"] == {1.0}
    assert rates["interaction 2"] == {0.5}
    assert rates["product 2"] == set()
    assert rates["interaction 1"] == rates["product 1"] == {0.25}
    assert rates["embedding"] == {0.125}


def test_layers_are_released_one_after_the_other(context):
    chosen = strategy("gradual", until=0.6)
    potential = chosen.start(context, HIGH)
    release = chosen.release(potential, LEVEL)
    blocks = parameter_blocks(potential, LEVEL)
    times = {block: {round(release[n], 9) for n in names} for block, names in blocks.items()}
    assert times["readout"] == {0.0}
    assert times["product 2"] == {0.2}
    assert times["interaction 1"] == {0.4}
    assert times["embedding"] == {0.6}


@pytest.mark.parametrize(
    ("settings", "fresh"),
    [
        ({"name": "reinit"}, {"readout"}),
        ({"name": "reinit", "last": 3}, {"readout", "product 2", "interaction 2"}),
        ({"name": "head", "readout": "fresh"}, {"readout"}),
    ],
)
def test_fresh_blocks(context, settings, fresh):
    potential = strategy(settings).start(context, HIGH)
    ours = dict(potential.named_parameters())
    theirs = dict(context.parent.named_parameters())
    source, target = (
        parameter_blocks(p, level) for p, level in ((context.parent, "low"), (potential, LEVEL))
    )
    changed = {
        block
        for block in source
        for a, b in zip(source[block], target[block], strict=True)
        if not torch.equal(theirs[a], ours[b])
    }
    assert changed == fresh


def test_scratch_has_the_parents_shape_and_other_weights(context):
    potential = strategy("scratch").start(context, HIGH)
    assert potential.architecture == context.parent.architecture
    assert not torch.equal(potential.backbone.species, context.parent.backbone.species)


def test_low_rank_changes_have_their_rank(context, nudge):
    chosen = strategy("lora", rank=2)
    potential = chosen.start(context, LOW)
    matrices = [part.weight for part in channel_maps(context.parent, "low")]
    sizes = [(math.prod(w.shape[:-2]), *w.shape[-2:]) for w in matrices]
    expected = sum(n * min(2, a, b) * (a + b) for n, a, b in sizes)
    moving = chosen.rates(potential, LEVEL)
    assert sum(dict(potential.named_parameters())[n].numel() for n in moving) == expected
    nudge(potential, moving)
    merged = dict(chosen.finish(potential, context).named_parameters())
    ranks = [
        torch.linalg.matrix_rank(merged[name] - weight, atol=1e-5).max().item()
        for name, weight in context.parent.backbone.named_parameters(prefix="backbone")
        if not torch.equal(merged[name], weight)
    ]
    assert max(ranks) == 2
    assert len(ranks) > 5


@pytest.mark.parametrize("name", ["l2sp", "ewc"])
def test_penalties_are_zero_at_the_parent_and_pull_back(context, nudge, name):
    chosen = strategy(name, strength=1.0)
    potential = chosen.start(context, HIGH).requires_grad_(True)
    penalty = chosen.penalty(potential, context)
    assert penalty(potential).item() == 0.0
    start = {n: p.detach().clone() for n, p in potential.named_parameters()}
    nudge(potential, start)
    penalty(potential).backward()
    pull = sum(
        float((p.grad * (p.detach() - start[n])).sum()) for n, p in potential.named_parameters()
    )
    assert pull == pytest.approx(2 * penalty(potential).item(), rel=1e-4)
    double = strategy(name, strength=2.0)
    assert double.strength == 2 * chosen.strength


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"name": "heads"}, "did you mean 'head'"),
        ({"name": "full", "rank": 3}, "strategy full: unknown key 'rank'"),
        ({"name": "lora", "rnk": 3}, "did you mean 'rank'"),
        ({"name": "lora", "rank": 0}, "expected 1 or more"),
        ({"name": "lora", "rank": "four"}, "rank"),
        ({"name": "l2sp", "strength": 0}, "use strategy 'full'|'full'"),
        ({"name": "gradual", "until": 1.0}, "expected 0 < until < 1"),
        ({"name": "discriminative", "decay": 2.0}, "expected 0 < decay"),
    ],
)
def test_settings_that_make_no_sense(call, message):
    with pytest.raises(ConfigError, match=message):
        strategy(call)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"name": "freeze", "fixed": ["interactoin"]}, "did you mean 'interaction"),
        ({"name": "freeze", "fixed": ["embedding", "interaction", "product", "readout"]}, "shift"),
        ({"name": "discriminative", "factors": {"interaction 3": 1.0}}, "the blocks are embedding"),
        ({"name": "reinit", "last": 6}, "expected 1 to 5"),
    ],
)
def test_blocks_that_do_not_exist(context, call, message):
    chosen = strategy(call)
    with pytest.raises(ConfigError, match=message):
        chosen.rates(chosen.start(context, HIGH), LEVEL)


@pytest.mark.parametrize("name", ALL_NAMES)
def test_settings_make_the_same_strategy_again(name):
    chosen = strategy(name)
    assert strategy(strategy_settings(chosen)) == chosen
