"""Two runs in one place: the second ends with status 2 and names place and holder."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import write

from tlpot.building import run_stages
from tlpot.cli import main
from tlpot.errors import ConfigError, OutputError
from tlpot.files import sole_use
from tlpot.models import LIBRARY

DATA = str(LIBRARY / "tlpot-qm.h5")
CC = "ccsd(t)/cbs(dt)"
SPLIT = ["split.by=random", "split.validation=4"]

HOLD = """
import sys
import textwrap
from pathlib import Path
path = Path(sys.argv[1])
import fcntl
handle = path.open("a+")
fcntl.flock(handle, fcntl.LOCK_EX)
handle.write(f"another run (process {__import__('os').getpid()} on here)")
handle.flush()
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held(lock: Path):
    """Another process that has a lock until the end of the context."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def md(folder):
    return ["md", "H2O", "tlpot-tiny", "--steps", "2", "--out", str(folder / "run")]


def finetune(folder):
    return ["finetune", "tlpot-tiny", DATA, "--level", CC, "-o", f"{folder}/m.safetensors",
            "--strategy", "shift", *SPLIT, "split.train=8", "split.test=4"]  # fmt: skip


def train(folder):
    frames = []
    for k in range(8):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=k)
        atoms.info["energy"] = float(k)
        frames.append(atoms)
    write(folder / "in.xyz", frames)
    (folder / "train.yaml").write_text(
        f"data: {{files: [{folder}/in.xyz], level: toy}}\noutput: {folder}/m.safetensors\n"
        "model: {preset: tiny, hidden_irreps: 4x0e+4x1o, cutoff: 3.0}\n"
        "split: {by: random, validation: 2}\ntraining: {epochs: 1}\n"
    )
    return ["train", str(folder / "train.yaml"), "--device", "cpu"]


def curve(folder):
    return [
        "curve",
        "tlpot-tiny",
        DATA,
        *SPLIT,
        "split.test=[methanol]",
        "--level",
        CC,
        "--strategies",
        "shift",
        "--sizes",
        "8",
        "--seeds",
        "1",
        "-o",
        f"{folder}/c",
    ]


def label(folder):
    write(folder / "in.xyz", molecule("H2O"))
    return ["label", str(folder / "in.xyz"), "--engine", "model:tlpot-tiny", "-o", f"{folder}/l.h5"]


def sample(folder):
    return ["sample", "H2O", "--calculator", "tlpot-tiny", "--method", "modes", "--budget", "3",
            "-o", f"{folder}/s.h5"]  # fmt: skip


CASES = {
    "md": (md, ".run.xyz.lock"),
    "label": (label, ".l.h5.journal.lock"),
    "sample": (sample, ".s.h5.lock"),
    "train": (train, ".m.safetensors.lock"),
    "finetune": (finetune, ".m.safetensors.lock"),
    "curve": (curve, "c/.lock"),
}

SLOW = ("train", "finetune", "curve")
"""Their first update is what takes long; the lock is the same."""


@pytest.mark.fault
@pytest.mark.parametrize("name", CASES)
def test_a_second_run_is_refused_by_name_and_a_killed_one_blocks_nobody(name, tmp_path, capsys):
    arguments, lock = CASES[name]
    command = arguments(tmp_path)
    before = set(tmp_path.rglob("*"))
    with held(tmp_path / lock) as holder:
        assert main(command) == 2
        error = capsys.readouterr().err
        assert str(tmp_path) in error
        assert f"process {holder.pid}" in error
        written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
        assert {path.name for path in written} <= {Path(lock).name, "l.h5.journal"}
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert (tmp_path / lock).exists()  # left behind, and no obstacle
        if name not in SLOW:
            assert main(command) == 0
            assert not (tmp_path / lock).exists()


@pytest.mark.fault
def test_two_builds_in_one_folder(tmp_path):
    with held(tmp_path / ".lock") as holder, pytest.raises(ConfigError, match=str(holder.pid)):
        run_stages([], tmp_path)
    assert run_stages([], tmp_path) == {}


def test_only_one_of_several_threads_of_one_process_writes(tmp_path):
    """A notebook that starts the same run twice is no better than two processes."""
    from tlpot.files import sole_use

    path = tmp_path / "x"
    with sole_use(path, "one"):
        with pytest.raises(OutputError, match=f"one .process {os.getpid()}"), sole_use(path, "two"):
            pass
        with sole_use(tmp_path / "y", "one"):  # a job inside another, elsewhere
            pass
    with sole_use(path, "two"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_leaves_the_lock_of_its_parent_alone(tmp_path):
    from tlpot.files import sole_use

    child = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from tlpot.errors import OutputError
        from tlpot.files import sole_use
        path = Path(sys.argv[1])
        with sole_use(path, "parent"):
            child = os.fork()
            if child == 0:
                path.write_text("written by a worker")
                sys.exit(0)  # runs through the context
            os.waitpid(child, 0)
            try:
                with sole_use(path, "other"):
                    sys.exit(1)
            except OutputError:
                pass
        """
    )
    path = tmp_path / "x"
    subprocess.run([sys.executable, "-c", child, path], check=True)
    assert path.read_text() == "written by a worker"
    with sole_use(path, "later"):
        pass


@pytest.mark.fault
def test_a_lock_holds_on_a_full_disk_and_is_removed(tmp_path):
    """Writing the holder's name was a traceback, and the file of the lock stayed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with (
            sole_use(tmp_path / "x.h5", "one"),
            pytest.raises(OutputError, match="in use"),
            sole_use(tmp_path / "x.h5", "other"),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
