"""How much slower a job is in a notebook than on the command line: in turns, medians.

    python benchmarks/notebook.py [--repeats 7] [JOB ...]

Each job, an evaluation and a fine-tuning of 20 updates with its report, runs as a command and as
one call of Python in a new process that imports torch first, as a notebook may, and with none of
the environment variables that the command line sets for OpenMP. ``start`` is an evaluation of a
file that is not there: it imports the same, once in the life of a notebook, and its median is
taken off that of each job. The first turn only warms the disk cache and is not counted; those who
go first take turns. Seconds on the clock tell of threads that wait, and need an idle machine; CPU
seconds of threads that spin.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from tlpot.models import LIBRARY

DATA = str(LIBRARY / "tlpot-qm.h5")
LEVEL, CC = "wb97x/6-31g*", "ccsd(t)/cbs(dt)"
OPENMP = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SPLIT = {"by": "random", "train": 40, "validation": 20}
TRAINING = {"epochs": 4, "batch_size": 8}
COMMANDS = {
    "start": ["evaluate", "tlpot-tiny", "nowhere.h5", "--level", LEVEL, "--device", "cpu"],
    "evaluate": ["evaluate", "tlpot-tiny", DATA, "--level", LEVEL, "--device", "cpu"],
    "finetune": [
        *("finetune", "tlpot-tiny", DATA, "--level", CC, "--strategy", "full", "--device", "cpu"),
        *("-o", "model.safetensors"),
        *(f"split.{key}={value}" for key, value in SPLIT.items()),
        *(f"training.{key}={value}" for key, value in TRAINING.items()),
    ],
}
CALLS = {
    "start": f"tlpot.evaluate('tlpot-tiny', 'nowhere.h5', level={LEVEL!r}, device='cpu')",
    "evaluate": f"tlpot.evaluate('tlpot-tiny', {DATA!r}, level={LEVEL!r}, device='cpu')",
    "finetune": (
        f"tlpot.finetune('tlpot-tiny', {DATA!r}, level={CC!r}, strategy='full', device='cpu', "
        f"output='model.safetensors', split={SPLIT}, training={TRAINING})"
    ),
}


def run(command: list[str], *, starts_only: bool) -> tuple[float, float]:
    """Runs a command in an empty folder; returns its seconds on the clock and of the CPU.

    Raises:
        RuntimeError: it failed, or should have and did not; the message is what it said.
    """
    kept = {name: value for name, value in os.environ.items() if name not in OPENMP}
    with tempfile.TemporaryDirectory() as folder:
        before, started = os.times(), time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True)
        seconds, after = time.perf_counter() - started, os.times()
    if bool(done.returncode) != starts_only:
        raise RuntimeError(done.stderr)
    spent = after.children_user + after.children_system
    return seconds, spent - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="evaluate, finetune")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    chosen = ["start", *(arguments.jobs or [job for job in COMMANDS if job != "start"])]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for turn in range(arguments.repeats + 1):
        for job in chosen:
            ways = {
                "command": [sys.executable, "-m", "tlpot", *COMMANDS[job]],
                "notebook": [sys.executable, "-c", f"import torch, tlpot; print({CALLS[job]})"],
            }
            for way in sorted(ways, reverse=turn % 2 == 0):
                times = run(ways[way], starts_only=job == "start")
                if turn:
                    found.setdefault((job, way), []).append(times)
    heading = f"{'':12}{'command':>10}{'notebook':>10}{'more':>9}"
    print(f"{heading}   medians of {arguments.repeats} turns")
    for column, what in enumerate(("s on the clock", "s of the CPU")):
        medians = {key: statistics.median(t[column] for t in each) for key, each in found.items()}
        for job in chosen:
            command, notebook = (
                medians[job, way] - (medians["start", way] if job != "start" else 0.0)
                for way in ("command", "notebook")
            )
            more = notebook / command - 1
            print(f"{job:12}{command:>10.2f}{notebook:>10.2f}{more:>9.1%}   {what}")


if __name__ == "__main__":
    main()
