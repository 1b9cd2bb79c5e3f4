"""How much slower a job is in a notebook than on the command line: in turns, medians.

    python benchmarks/notebook.py [--repeats 7] [JOB ...]

Each job, an evaluation and a fine-tuning of 20 updates with its report, runs as a command and as
one call of Python in a new process that imports torch first, as a notebook may, and with none of
the environment variables that the command line sets for OpenMP. Start-up counts in both. The
first turn only warms the disk cache and is not counted; those who go first take turns. Seconds on
the clock tell of threads that wait, and need an idle machine; CPU seconds of threads that spin.
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
    "evaluate": ["evaluate", "tlpot-tiny", DATA, "--level", LEVEL, "--device", "cpu"],
    "finetune": [
        *("finetune", "tlpot-tiny", DATA, "--level", CC, "--strategy", "full", "--device", "cpu"),
        *("-o", "model.safetensors"),
        *(f"split.{key}={value}" for key, value in SPLIT.items()),
        *(f"training.{key}={value}" for key, value in TRAINING.items()),
    ],
}
CALLS = {
    "evaluate": f"tlpot.evaluate('tlpot-tiny', {DATA!r}, level={LEVEL!r}, device='cpu')",
    "finetune": (
        f"tlpot.finetune('tlpot-tiny', {DATA!r}, level={CC!r}, strategy='full', device='cpu', "
        f"output='model.safetensors', split={SPLIT}, training={TRAINING})"
    ),
}


def run(command: list[str]) -> tuple[float, float]:
    """Runs a command in an empty folder; returns its seconds on the clock and of the CPU.

    Raises:
        RuntimeError: it failed; the message is what it said.
    """
    kept = {name: value for name, value in os.environ.items() if name not in OPENMP}
    with tempfile.TemporaryDirectory() as folder:
        before, started = os.times(), time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True)
        seconds, after = time.perf_counter() - started, os.times()
    if done.returncode:
        raise RuntimeError(done.stderr)
    spent = after.children_user + after.children_system
    return seconds, spent - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=", ".join(COMMANDS))
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    chosen = arguments.jobs or list(COMMANDS)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for turn in range(arguments.repeats + 1):
        for job in chosen:
            ways = {
                "command": [sys.executable, "-m", "tlpot", *COMMANDS[job]],
                "notebook": [sys.executable, "-c", f"import torch, tlpot; print({CALLS[job]})"],
            }
            for way in sorted(ways, reverse=turn % 2 == 0):
                times = run(ways[way])
                if turn:
                    found.setdefault((job, way), []).append(times)
    print(
        f"{'':12}{'command':>10}{'notebook':>10}{'more':>9}   medians of {arguments.repeats} turns"
    )
    for job in chosen:
        for column, what in enumerate(("s on the clock", "s of the CPU")):
            command, notebook = (
                statistics.median(times[column] for times in found[job, way])
                for way in ("command", "notebook")
            )
            print(
                f"{job:12}{command:>10.2f}{notebook:>10.2f}{notebook / command - 1:>9.1%}   {what}"
            )


if __name__ == "__main__":
    main()
