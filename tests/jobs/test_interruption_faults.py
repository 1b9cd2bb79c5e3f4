"""What ends a job from outside: Ctrl-C, and a progress function that raises."""

import os
import pickle
import signal
from pathlib import Path

import pytest
import torch
from few_labels import CC, SPLIT

import tlpot
from tlpot.cli import main
from tlpot.jobs import TrainingInterrupted
from tlpot.models import load
from tlpot.training.loop import _Run

pytestmark = pytest.mark.train
SETTINGS = {
    "level": CC, "split": SPLIT, "epochs": 3, "device": "cpu", "report": {"enabled": False},
    "training": {"batch_size": 4},
}  # fmt: skip
WORDS = ["report.enabled=false", "training.batch_size=4", "training.epochs=3", "split.by=random"]


class CancelledError(Exception):
    """What the user's own function raises."""


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def cancel():
    raise CancelledError("enough")


def at(n, act):
    """Returns a progress function that does something at a call, and the calls."""
    calls = []

    def progress(done, total, text):
        calls.append(text)
        if len(calls) == n:
            act()

    return progress, calls


def same_weights(one, other):
    one, other = load(one).state_dict(), load(other).state_dict()
    return all(
        torch.equal(one[key], other[key]) for key in one if isinstance(one[key], torch.Tensor)
    )


@pytest.mark.fault
@pytest.mark.parametrize(
    ("act", "error"), [(interrupt, KeyboardInterrupt), (cancel, CancelledError)]
)
def test_a_training_that_is_stopped_raises_and_keeps_its_best_model(data, tmp_path, act, error):
    """Ctrl-C gave a result like any other, and a progress function that raised left no model."""
    output = tmp_path / "a.safetensors"
    progress, calls = at(6, act)
    with pytest.raises(error) as caught:
        tlpot.finetune("tlpot-tiny", data, output=output, progress=progress, **SETTINGS)
    assert len(calls) <= 7, "the update in progress is finished"
    said = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert str(output) in said
    assert "resume=True" in said
    assert load(output).card.metrics["interrupted"]
    assert (tmp_path / "a.run" / "checkpoint.safetensors").exists()
    resumed = {"output": output, "resume": True, "progress": False}
    assert tlpot.finetune("tlpot-tiny", data, **resumed, **SETTINGS).training.best_epoch >= 0
    whole = tmp_path / "b.safetensors"
    tlpot.finetune("tlpot-tiny", data, output=whole, progress=False, **SETTINGS)
    assert same_weights(output, whole)


@pytest.mark.fault
def test_what_an_interrupted_training_has_come_to_is_said_to_be_that(data, tmp_path):
    """The text of the result did not tell a model of half a training from others."""
    progress, _ = at(2, interrupt)
    output = tmp_path / "a.safetensors"
    with pytest.raises(TrainingInterrupted) as caught:
        tlpot.finetune("tlpot-tiny", data, output=output, progress=progress, **SETTINGS)
    assert "INTERRUPTED" in str(caught.value.outcome)
    # as a worker sends it
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.fixture
def stopped(monkeypatch):
    """Ctrl-C at the third update of all trainings."""
    update, calls = _Run.update, []

    def interrupted(run, done):
        update(run, done)
        calls.append(done)
        if len(calls) == 3:
            interrupt()

    monkeypatch.setattr(_Run, "update", interrupted)


@pytest.mark.control
def test_an_interrupted_command_ends_as_ever(data, tmp_path, stopped, capsys):
    command = ["finetune", "tlpot-tiny", data, "--level", CC, "-o", str(tmp_path / "a.safetensors")]
    assert main([*command, *WORDS]) == 130
    shown = capsys.readouterr()
    assert "after (weights of epoch" in shown.out
    assert shown.err.rstrip().endswith("--resume continues\ntlpot finetune: interrupted")
    assert main([*command, *WORDS, "--resume"]) == 0


@pytest.mark.fault
def test_an_interrupted_trial_is_not_compared(data, tmp_path, stopped):
    """`auto` took the errors of a trial that was interrupted for those of its strategy."""
    strategy = {"name": "auto", "candidates": ["full"], "folds": 2}
    output = tmp_path / "a.safetensors"
    settings = {**SETTINGS, "training": {}, "epochs": None}
    with pytest.raises(KeyboardInterrupt):
        tlpot.finetune(
            "tlpot-tiny", data, output=output, strategy=strategy, progress=False, **settings
        )
    assert not output.exists()
    found = [path.stem for path in (tmp_path / "a.run" / "auto").glob("*.json")]
    assert not any("full" in name for name in found)


def curve(data, folder, progress):
    return tlpot.learning_curve(
        "tlpot-tiny", data, level=CC, strategies=["shift", "frozen-ridge"], sizes=[6, 12], seeds=1,
        output=folder, split={"by": "random", "test": 8, "validation": 4}, device="cpu",
        progress=progress,
    )  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("n", range(1, 6))
def test_what_a_progress_function_raises_ends_a_curve(data, tmp_path, n):
    """What came from a bar inside of a point was booked as the point's failure."""
    progress, calls = at(n, cancel)
    with pytest.raises(CancelledError, match="enough"):
        curve(data, tmp_path / "curve", progress)
    assert len(calls) == n
    assert curve(data, tmp_path / "curve", False).failures == []


@pytest.mark.control
def test_the_cause_of_what_a_progress_function_raises_is_kept(data):
    reason = KeyError("why")

    def progress(done, total, text):
        raise CancelledError from reason

    with pytest.raises(CancelledError) as caught:
        tlpot.evaluate("tlpot-tiny", data, level=CC, device="cpu", progress=progress)
    assert caught.value.__cause__ is reason


@pytest.mark.fault
def test_a_notebook_shows_the_report_of_a_job_that_was_not_to_start(data, tmp_path):
    """A cell that ended with a dry run ended with an error: nothing was trained."""
    output = tmp_path / "a.safetensors"
    found = tlpot.finetune("tlpot-tiny", data, output=output, dry_run=True, **SETTINGS)
    shown = found._repr_html_()
    assert "training frame" in shown
    assert "<img" not in shown
    assert not Path(output).exists()
