"""A training killed at any moment and resumed ends with bitwise the same weights."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_toys import SETTINGS, ToyPotential, everything, fit

from tlpot.errors import ConfigError, DataError, OutputError

LONG = replace(SETTINGS, epochs=30, checkpoint_every=2, schedule="plateau", plateau_patience=2)


def live(run_dir: Path) -> int:
    """Starts a process that trains, from the checkpoint if there is one; returns its id."""
    process = os.fork()
    if process:
        return process
    potential = ToyPotential()
    fit(potential, run_dir, LONG, resume=(run_dir / "checkpoint.safetensors").exists())
    save_file({n: p.detach() for n, p in potential.named_parameters()}, run_dir / "final")
    os._exit(0)


def checkpoint_time(run_dir: Path) -> int:
    path = run_dir / "checkpoint.safetensors"
    return path.stat().st_mtime_ns if path.exists() else 0


def main(run_dir: Path) -> None:
    """Lets training processes live and be killed until one reaches the end; prints how many died.

    In a process of its own, which imports torch once and never runs it, so that it can fork.
    """
    rng = random.Random(os.getpid())
    kills = 0
    while not (run_dir / "final").exists():
        process = live(run_dir)
        seen, until = checkpoint_time(run_dir), rng.randint(1, 12) if kills < 8 else 10**6
        while until and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            now = checkpoint_time(run_dir)
            until, seen = until - (now != seen), now
            time.sleep(0.0003)
        time.sleep(0.01 * rng.random())
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            kills += 1
        elif os.WEXITSTATUS(status):
            raise SystemExit(1)
    print(kills)


@pytest.mark.train
def test_sigkill_at_random_moments_then_resume_is_bitwise_the_same(tmp_path):
    potential = ToyPotential()
    whole = fit(potential, tmp_path / "whole", LONG)
    run_dir = tmp_path / "killed"
    run_dir.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, str(run_dir)]
    kills = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
    assert int(kills) >= 5
    final = load_file(run_dir / "final")
    for name, weight in potential.named_parameters():
        assert torch.equal(final[name], weight), name
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    clock = {"seconds": 0}
    assert [line | clock for line in lines] == [entry | clock for entry in whole.history]


def test_resume_of_a_finished_run_changes_nothing(tmp_path):
    potential, again = ToyPotential(), ToyPotential()
    first = fit(potential, tmp_path)
    second = fit(again, tmp_path, resume=True)
    assert second.history == first.history
    assert second.best_epoch == first.best_epoch
    assert torch.equal(again.backbone, potential.backbone)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(DataError, match="nothing to resume"):
        fit(ToyPotential(), tmp_path, resume=True)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (replace(SETTINGS, learning_rate=1e-3), "learning_rate was 0.02, is 0.001"),
        (replace(SETTINGS, loss=replace(SETTINGS.loss, kind="mse")), "loss.kind was 'huber'"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, settings, named):
    fit(ToyPotential(), tmp_path)
    content = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(ConfigError, match=named):
        fit(ToyPotential(), tmp_path, settings, resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == content


def test_other_data_or_another_plan_is_refused(tmp_path):
    fit(ToyPotential(), tmp_path, identity={"dataset": {"content_hash": "a"}})
    with pytest.raises(ConfigError, match=r"dataset\.content_hash was 'a', is 'b'"):
        fit(ToyPotential(), tmp_path, identity={"dataset": {"content_hash": "b"}}, resume=True)
    potential = ToyPotential()
    plan = replace(everything(potential), rates={"backbone": 0.5})
    with pytest.raises(ConfigError, match=r"rates\.backbone was 1\.0, is 0\.5"):
        fit(
            potential,
            tmp_path,
            identity={"dataset": {"content_hash": "a"}},
            plan=plan,
            resume=True,
        )


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b"junk" * 20, lambda b: b""])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    fit(ToyPotential(), tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"checkpoint\.safetensors is damaged"):
        fit(ToyPotential(), tmp_path, resume=True)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    original, contents = Path.write_bytes, []

    def fill_up(self, data):
        if len(contents) == 2:
            original(self, data[:100])
            raise OSError(28, "No space left on device")
        contents.append(data)
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OutputError, match="No space left"):
        fit(ToyPotential(), tmp_path)
    assert path.read_bytes() == contents[-1]
    assert not list(tmp_path.glob(".*.part"))
    monkeypatch.undo()
    rest, whole = ToyPotential(), ToyPotential()
    fit(rest, tmp_path, resume=True)
    fit(whole, tmp_path / "whole")
    assert torch.equal(rest.backbone, whole.backbone)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
