"""SOAP: Adam in a basis that follows the gradients."""

from dataclasses import replace

import pytest
import torch
from training_toys import SETTINGS, ToyPotential, everything, fit

from tlpot.training import TrainingPlan, TrainingSettings, soap
from tlpot.training.optimizer import make_optimizer
from tlpot.training.soap import Soap

BETAS = (0.95, 0.95)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def rotation(n, seed):
    return torch.linalg.qr(draw(n, n, seed=seed))[0]


def path(weight, gradient, make, n):
    """The weights after each of `n` steps along ``gradient(weight, k)``."""
    weight = torch.nn.Parameter(weight.clone())
    optimizer = make([weight])
    found = []
    for k in range(n):
        weight.grad = gradient(weight.detach(), k)
        optimizer.step()
        found.append(weight.detach().clone())
    return found


def by_soap(weights):
    return Soap([{"params": weights}], lr=0.05)


def test_without_bases_it_is_adam(monkeypatch):
    """From the second update on, since the first only finds bases."""
    monkeypatch.setattr(soap, "LARGEST_SIDE", 0)
    monkeypatch.setattr(soap, "_QUIET", 0.0)
    start = draw(5, 4)

    def gradient(weight, k):
        return weight - draw(5, 4, seed=k + 1)

    def by_adam(weights):
        return torch.optim.Adam(weights, lr=0.05, betas=BETAS, eps=1e-8)

    steps = path(start, gradient, by_soap, 21)
    assert torch.equal(steps[0], start)
    adam = path(start, lambda weight, k: gradient(weight, k + 1), by_adam, 20)
    for one, other in zip(steps[1:], adam, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_vectors_are_moved_as_by_adam(monkeypatch):
    monkeypatch.setattr(soap, "_QUIET", 0.0)
    steps = path(draw(7), lambda w, k: w - draw(7, seed=k), by_soap, 12)
    adam = path(
        draw(7),
        lambda w, k: w - draw(7, seed=k + 1),
        lambda weights: torch.optim.Adam(weights, lr=0.05, betas=BETAS),
        11,
    )
    torch.testing.assert_close(steps[-1], adam[-1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(5, 5), (3, 4, 5)])
def test_a_turn_of_the_axes_turns_the_way(shape):
    """Which is not so of Adam, whose steps belong to the axes.

    A matrix that is not square has directions of which its first gradient says nothing.
    """
    turns = [rotation(n, seed=9 + k) for k, n in enumerate(shape)]

    def turned(x):
        for k, turn in enumerate(turns):
            x = torch.tensordot(x, turn, dims=([k], [1])).movedim(-1, k)
        return x

    def back(x):
        for k, turn in enumerate(turns):
            x = torch.tensordot(x, turn, dims=([k], [0])).movedim(-1, k)
        return x

    target = 3.0 * draw(*shape, seed=5)

    def gradient(weight, k):
        return (weight - target) ** 3 + draw(*shape, seed=20 + k)

    start = draw(*shape)
    plain = path(start, gradient, by_soap, 35)
    other = path(turned(start), lambda w, k: turned(gradient(back(w), k)), by_soap, 35)
    assert (plain[-1] - start).norm() > 0.3
    for one, two in zip(plain, other, strict=True):
        torch.testing.assert_close(turned(one), two, rtol=0, atol=1e-7)


def test_what_is_stretched_along_no_axis_is_learned_in_fewer_steps():
    """Least squares whose inputs are alike but for small differences."""
    mixing = rotation(12, 1) @ torch.diag(torch.logspace(0, -2, 12, dtype=torch.float64))
    target = draw(12, 8, seed=2)

    def gradient(weight, k):
        inputs = draw(64, 12, seed=100 + k) @ mixing.T
        return inputs.T @ (inputs @ (weight - target)) / 64

    def left(make):
        weight = path(torch.zeros(12, 8, dtype=torch.float64), gradient, make, 300)[-1]
        return float((mixing.T @ (weight - target)).square().mean())

    adam = left(lambda weights: torch.optim.Adam(weights, lr=0.05))
    assert left(by_soap) < 0.2 * adam


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_rounding_is_not_followed(size):
    """Along directions of which the labels say nothing, gradients are rounding alone."""
    seen = rotation(24, 4)[:6].float()
    target = draw(24, 32, seed=2).float()

    def gradient(weight, k):
        inputs = draw(16, 6, seed=100 + k).float() @ seen
        return size * inputs.T @ (inputs @ (weight - target)) / 16

    moved = path(torch.zeros(24, 32), gradient, by_soap, 120)[-1]
    along = seen.T @ seen
    assert (along @ moved).norm() > 1.0
    assert (moved - along @ moved).norm() < 0.01 * (along @ moved).norm()


def test_weights_that_never_get_a_gradient_stay():
    """As those of a level that no batch has had yet; others are moved on zero gradients."""
    steps = path(draw(4, 3), lambda w, k: torch.zeros_like(w), by_soap, 40)
    assert torch.equal(steps[-1], draw(4, 3))
    rare = path(draw(4, 3), lambda w, k: w * (k < 5), by_soap, 400)
    assert torch.isfinite(rare[-1]).all()
    torch.testing.assert_close(rare[-1], rare[-2], rtol=0, atol=1e-5)


def test_a_long_side_keeps_its_axes():
    weight = torch.nn.Parameter(draw(3, soap.LARGEST_SIDE + 1))
    optimizer = by_soap([weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert {key for key in optimizer.state[weight] if "basis" in key} == {"basis_0"}


def test_the_plan_decides_what_moves_and_how_fast():
    model = ToyPotential(("low", "high"))
    plan = TrainingPlan(rates={"backbone": 0.1, "heads.1": 1.0})
    optimizer = make_optimizer(model, plan, TrainingSettings(optimizer="soap", weight_decay=1e-4))
    assert isinstance(optimizer, Soap)
    groups = {group["factor"]: group for group in optimizer.param_groups}
    assert groups[0.1]["params"][0] is model.backbone
    assert groups[1.0]["weight_decay"] == pytest.approx(1e-4)
    assert [p.requires_grad for p in (model.backbone, *model.heads)] == [True, False, True]


class KilledError(Exception):
    """In place of a power cut."""


def test_errors_fall_and_a_killed_training_ends_with_the_same_weights(tmp_path):
    settings = replace(SETTINGS, epochs=8, optimizer="soap", checkpoint_every=1)
    whole = ToyPotential()
    result = fit(whole, tmp_path / "whole", settings)
    first, last = result.history[0]["low"], result.history[-1]["low"]
    assert last["forces_mae"] < 0.5 * first["forces_mae"]

    def kill(model, step):
        if step == 23:
            raise KilledError
        return torch.zeros(())

    parts = ToyPotential()
    with pytest.raises(KilledError):
        fit(parts, tmp_path / "parts", settings, plan=everything(parts, penalty=kill))
    parts = ToyPotential()
    fit(parts, tmp_path / "parts", settings, resume=True)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)
