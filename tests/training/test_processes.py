"""Two processes that share batches do what one does, even where one has no frame."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_toys import SETTINGS, ToyPotential, everything, loaders

from tlpot.training import Processes, joined_processes, train

pytestmark = pytest.mark.train

LEVELS = ("low", "high")
# 13 frames in batches of 4: the last batch has one frame, and the second process none of it
N_FRAMES = 13
SOAP = replace(SETTINGS, optimizer="soap")


def fit(run_dir, processes, *, interrupt_at=None, settings=SETTINGS):
    """Trains, and writes down what this process has at the end."""
    steps = []

    def penalty(model, step):
        steps.append(1)
        if len(steps) == interrupt_at:
            signal.raise_signal(signal.SIGTERM)
        return 1e-2 * model.backbone.square().mean()

    potential = ToyPotential(LEVELS)
    training, validation = loaders(
        LEVELS, n=N_FRAMES, rank=processes.rank, world_size=processes.world_size
    )
    result = train(
        potential,
        levels=LEVELS,
        train_loader=training,
        validation_loader=validation,
        settings=settings,
        plan=everything(potential, penalty=penalty),
        run_dir=run_dir,
        processes=processes,
    )
    tensors = {n: p.detach() for n, p in potential.named_parameters()}
    save_file(tensors, run_dir / f"weights{processes.rank}")
    outcome = {"history": result.history, "interrupted": result.interrupted}
    (run_dir / f"outcome{processes.rank}").write_text(json.dumps(outcome))


def main(root: Path) -> None:
    """Becomes two processes, as torchrun would have started them."""
    rank = 0 if os.fork() else 1
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.dup2(os.open(root / f"stderr{rank}", os.O_CREAT | os.O_WRONLY), 2)
    with joined_processes() as processes:
        fit(root / "whole", processes)
        fit(root / "whole_soap", processes, settings=SOAP)
        # only the first process gets the signal, in the middle of an update
        fit(root / "stopped", processes, interrupt_at=6)
    if rank == 0:
        raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder with the results of one process and of two."""
    root = tmp_path_factory.mktemp("processes")
    fit(root / "one", Processes())
    fit(root / "one_soap", Processes(), settings=SOAP)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    done = subprocess.run([sys.executable, __file__, str(root)], env=environment, timeout=60)
    assert done.returncode == 0, [(root / f"stderr{rank}").read_text() for rank in range(2)]
    return root


def outcome(folder, rank):
    return json.loads((folder / f"outcome{rank}").read_text())


def test_the_second_process_does_miss_a_batch():
    training, _ = loaders(LEVELS, n=N_FRAMES, rank=1, world_size=2)
    assert [batch for batch in training.batches(0) if batch is None] == [None]


@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_have_the_weights_of_one(root, rank):
    one, two = load_file(root / "one/weights0"), load_file(root / f"whole/weights{rank}")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_have_the_losses_and_errors_of_one(root, rank):
    one, two = outcome(root / "one", 0)["history"], outcome(root / "whole", rank)["history"]
    assert len(one) == len(two) == SETTINGS.epochs + 1
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-9)
        assert b.get("training_loss", 0) == pytest.approx(a.get("training_loss", 0), rel=1e-9)
        for level in LEVELS:
            assert b[level] == pytest.approx(a[level], rel=1e-9)


def test_so_they_have_by_soap(root):
    """Bases of rounding alone might differ, had they a say."""
    one, two = load_file(root / "one_soap/weights0"), load_file(root / "whole_soap/weights0")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("folder", ["whole", "whole_soap"])
def test_both_processes_have_the_same_weights_to_the_bit(root, folder):
    first, second = (load_file(root / folder / f"weights{rank}") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_the_first_process_writes_and_prints(root):
    assert len((root / "whole/metrics.jsonl").read_text().splitlines()) == SETTINGS.epochs + 1
    assert "meV" in (root / "stderr0").read_text()
    assert "meV" not in (root / "stderr1").read_text()


def test_a_signal_to_one_process_stops_both_after_the_same_update(root):
    assert all(outcome(root / "stopped", rank)["interrupted"] for rank in range(2))
    first, second = load_file(root / "stopped/weights0"), load_file(root / "stopped/weights1")
    assert all(torch.equal(first[name], second[name]) for name in first)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
