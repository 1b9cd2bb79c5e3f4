"""The loop learns, keeps the best weights, stops as told, and complains clearly."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from needs import needs
from training_toys import SETTINGS, ToyPotential, everything, loaders

from tlpot.errors import ConfigError, DataError, MissingExtraError
from tlpot.training import TrainingPlan, train
from tlpot.training.loop import _Run


def fit(potential, run_dir, settings=SETTINGS, levels=("low",), plan=None, frames=None, **kwargs):
    training, validation = loaders(levels, batch_size=settings.batch_size, frames=frames)
    return train(
        potential,
        levels=levels,
        train_loader=training,
        validation_loader=validation,
        settings=settings,
        plan=everything(potential) if plan is None else plan,
        run_dir=run_dir,
        **{"show": False, **kwargs},
    )


def weights(potential):
    return {name: p.detach().clone() for name, p in potential.named_parameters()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_errors_fall(tmp_path):
    result = fit(ToyPotential(), tmp_path, replace(SETTINGS, epochs=40))
    first, last = result.history[0]["low"], result.history[-1]["low"]
    assert last["forces_mae"] < 0.2 * first["forces_mae"]
    assert last["energy_mae"] < 0.2 * first["energy_mae"]
    assert not result.interrupted


def test_a_rising_weight_of_energies_is_that_of_the_loss(tmp_path):
    """Beyond the half, training is what it is with the weight of the moment."""

    def start(name, **weights):
        loss = replace(SETTINGS.loss, **weights)
        return fit(ToyPotential(), tmp_path / name, replace(SETTINGS, epochs=4, loss=loss))

    rising = start("rising", energy=1.0, energy_end=1e4)
    plain = start("plain", energy=1.0, energy_end=1.0)
    heavy = start("heavy", energy=1e4, energy_end=1e4)
    losses = [[entry.get("training_loss") for entry in r.history] for r in (rising, plain, heavy)]
    assert losses[0][:4] == losses[1][:4], "epochs that begin in the first half"
    assert losses[0][4] > 3 * losses[1][4]
    # what is validated has the last weight from the beginning
    assert rising.history[0]["loss"] == heavy.history[0]["loss"]


def test_two_levels_at_once_learn_from_holes(tmp_path):
    potential = ToyPotential(("low", "high"))
    result = fit(potential, tmp_path, replace(SETTINGS, epochs=40), levels=("low", "high"))
    first, last = result.history[0], result.history[-1]
    assert last["high"]["energy_mae"] < 0.3 * first["high"]["energy_mae"]
    assert "forces_mae" not in last["high"]
    assert last["high"]["n_energies"] == 2


def test_float32_weights_learn_on_top_of_large_totals(tmp_path):
    potential = ToyPotential(dtype=torch.float32)
    result = fit(potential, tmp_path, replace(SETTINGS, epochs=20))
    assert result.history[-1]["loss"] < 0.3 * result.history[0]["loss"]
    assert potential.backbone.dtype == torch.float32


def test_the_start_is_kept_when_training_only_harms(tmp_path):
    potential = ToyPotential()
    fit(potential, tmp_path / "a", replace(SETTINGS, epochs=30))
    before = weights(potential)
    harmful = replace(SETTINGS, learning_rate=30.0, ema=0.0, warmup=0.0)
    result = fit(potential, tmp_path / "b", harmful)
    assert result.best_epoch == 0
    assert same(weights(potential), before)


def test_the_best_validated_weights_are_the_ones_that_stay(tmp_path):
    potential = ToyPotential()
    result = fit(potential, tmp_path, replace(SETTINGS, epochs=12))
    again = fit(potential, tmp_path, replace(SETTINGS, epochs=1))
    assert again.history[0]["loss"] == pytest.approx(result.best_loss, rel=1e-12)
    assert result.best_loss == min(entry["loss"] for entry in result.history)


def test_only_the_planned_weights_move_and_rates_scale_them(tmp_path):
    potential = ToyPotential(("low", "high"))
    before = weights(potential)
    settings = replace(SETTINGS, epochs=1, ema=0.0, schedule="constant")
    fit(potential, tmp_path, settings, plan=TrainingPlan(rates={"heads.0": 1.0}))
    after = weights(potential)
    assert not torch.equal(after["heads.0"], before["heads.0"])
    assert torch.equal(after["backbone"], before["backbone"])
    assert torch.equal(after["heads.1"], before["heads.1"])
    assert all(p.requires_grad and p.grad is None for p in potential.parameters())


def test_a_penalty_holds_the_weights(tmp_path):
    def moved(strength, folder):
        potential = ToyPotential()
        before = weights(potential)["backbone"]
        penalty = lambda model, step: strength * (model.backbone - before).square().sum()  # noqa: E731
        fit(potential, tmp_path / folder, plan=everything(potential, penalty=penalty))
        return (potential.backbone - before).norm().item()

    assert moved(100.0, "strong") < 0.5 * moved(0.0, "none")


def test_same_seed_same_weights_other_seed_other_weights(tmp_path):
    first, second, third = ToyPotential(), ToyPotential(), ToyPotential()
    fit(first, tmp_path / "a")
    fit(second, tmp_path / "b")
    settings = replace(SETTINGS, batch_size=5)
    fit(third, tmp_path / "c", settings)
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(third))


def test_global_state_of_torch_is_left_alone(tmp_path):
    before, handler = torch.get_rng_state(), signal.getsignal(signal.SIGINT)
    fit(ToyPotential(), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert signal.getsignal(signal.SIGINT) is handler


def test_early_stopping(tmp_path):
    settings = replace(SETTINGS, epochs=50, patience=3, learning_rate=5.0, ema=0.0, warmup=0.0)
    result = fit(ToyPotential(), tmp_path, settings)
    losses = [entry["loss"] for entry in result.history]
    best = losses.index(min(losses))
    assert len(losses) == best + 4 < 50


def test_validations_are_spaced_and_the_last_epoch_has_one(tmp_path):
    result = fit(ToyPotential(), tmp_path, replace(SETTINGS, epochs=5, validate_every=2))
    assert [entry["epoch"] for entry in result.history] == [0, 2, 4, 5]


def test_metrics_file_has_one_line_for_each_validation(tmp_path):
    result = fit(ToyPotential(), tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.history
    assert {"epoch", "step", "loss", "learning_rate", "seconds", "low"} <= set(result.history[1])


def test_a_loss_that_explodes_is_an_error_that_names_update_and_frames(tmp_path):
    settings = replace(SETTINGS, learning_rate=1e200, loss=replace(SETTINGS.loss, kind="mse"))
    with pytest.raises(DataError, match=r"update 2, whose batch is toy\.h5\[\d+\](, toy|;)"):
        fit(ToyPotential(), tmp_path, settings)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_model_that_gives_nan_at_the_start_is_an_error(tmp_path):
    potential = ToyPotential()
    with torch.no_grad():
        potential.backbone[0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="validation"):
        fit(potential, tmp_path)


def test_interrupt_finishes_the_step_and_keeps_the_best_weights(tmp_path):
    potential = ToyPotential()
    steps = []

    def penalty(model, step):
        steps.append(1)
        if len(steps) == 7:
            signal.raise_signal(signal.SIGINT)
        return model.backbone.sum() * 0.0

    result = fit(potential, tmp_path, plan=everything(potential, penalty=penalty))
    assert result.interrupted
    assert len(steps) == 7
    assert (tmp_path / "checkpoint.safetensors").exists()
    assert result.best_loss == min(entry["loss"] for entry in result.history)

    rest, whole = ToyPotential(), ToyPotential()
    fit(rest, tmp_path, resume=True)
    fit(whole, tmp_path / "whole")
    assert same(weights(rest), weights(whole))


@pytest.mark.fault
def test_an_interrupt_after_the_last_update_is_not_lost(tmp_path, monkeypatch):
    """Ctrl-C during the last validation was forgotten, and a loop over seeds went on."""
    validate = _Run.validate

    def slow(run, loader):
        validate(run, loader)
        if run.progress.epoch == SETTINGS.epochs:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_Run, "validate", slow)
    assert fit(ToyPotential(), tmp_path).interrupted
    monkeypatch.undo()
    result = fit(ToyPotential(), tmp_path, resume=True)
    assert not result.interrupted
    assert result.history[-1]["epoch"] == SETTINGS.epochs


def test_a_second_interrupt_is_obeyed_at_once(tmp_path):
    def penalty(model, step):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return model.backbone.sum() * 0.0

    potential, handler = ToyPotential(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(potential, tmp_path, plan=everything(potential, penalty=penalty))
    assert signal.getsignal(signal.SIGINT) is handler


def test_progress_goes_to_standard_error_with_errors_and_time_left(tmp_path, capsys):
    fit(ToyPotential(), tmp_path, show=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "meV/Å" in err
    assert "epoch 4/4" in err
    assert "20/20" in err


def test_tensorboard_gets_the_validation_errors(tmp_path):
    accumulator = needs("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    result = fit(ToyPotential(), tmp_path, replace(SETTINGS, tensorboard=True))
    events = accumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [event.value for event in events.Scalars("low/forces_mae")]
    assert found == pytest.approx([e["low"]["forces_mae"] for e in result.history], rel=1e-6)


def test_missing_tensorboard_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"tlpot\[tensorboard\]"):
        fit(ToyPotential(), tmp_path, replace(SETTINGS, tensorboard=True))


def test_a_plan_must_name_weights_that_exist(tmp_path):
    with pytest.raises(ConfigError, match=r"heads\.7"):
        fit(ToyPotential(), tmp_path, plan=TrainingPlan(rates={"heads.7": 1.0}))
    with pytest.raises(ConfigError, match="no weights"):
        fit(ToyPotential(), tmp_path, plan=TrainingPlan(rates={}))


def test_atom_budget_changes_the_batches_not_the_frames(tmp_path):
    settings = replace(SETTINGS, epochs=1)
    training, _ = loaders(batch_size=settings.batch_size)
    training.max_atoms = 8
    counts = [batch.graph.n_atoms for batch in training.batches(0)]
    assert max(counts) <= 8
    assert sum(counts) == np.sum(training.dataset.sizes[:18])
