"""Start-up time of every command against that of ``import torch``, in turns, medians.

::

    python benchmarks/startup.py [--repeats 7] [COMMAND ...]

Each command is given an input that does not exist, and the demo no repeat, so that it imports
what it needs and stops with exit status 2. CPU seconds of the process (user and
system), because other work on the machine stretches the time on the clock. The first turn only
compiles and warms the disk cache and is not counted. Compiled modules, those of torch included,
are kept in a folder of their own, because an environment that forbids Python to write them
(``PYTHONDONTWRITEBYTECODE``, in containers) would compile this package anew in every turn, and
torch, which came with its own, not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

TORCH = "import torch"
NOWHERE = "does-not-exist"
COMMANDS = {
    "--help": ["--help"],
    "models list": ["models", "list"],
    "info": ["info", "tlpot-tiny"],
    "data info": ["data", "info", f"{NOWHERE}.h5"],
    "train": ["train", f"{NOWHERE}.yaml"],
    "finetune": ["finetune", NOWHERE, f"{NOWHERE}.h5", "--level", "pbe", "-o", "x.safetensors"],
    "label": ["label", f"{NOWHERE}.xyz", "--engine", "gfn2-xtb", "-o", "x.h5"],
    "curve": ["curve", f"{NOWHERE}.yaml"],
    "plan": ["plan", NOWHERE],
    "evaluate": ["evaluate", "tlpot-tiny", f"{NOWHERE}.h5"],
    "ensemble": ["ensemble", NOWHERE, "-o", "x.safetensors"],
    "calibrate": ["calibrate", NOWHERE, f"{NOWHERE}.h5", "-o", "x.safetensors"],
    "report": ["report", NOWHERE, f"{NOWHERE}.h5"],
    "build": ["build", f"{NOWHERE}.yaml"],
    "sample": ["sample", f"{NOWHERE}.xyz", "-o", "x.h5"],
    "fragment": ["fragment", f"{NOWHERE}.pdb", "--level", "pbe"],
    "md": ["md", f"{NOWHERE}.xyz", "tlpot-tiny", "--threads", "0"],
    "models rank": ["models", "rank", f"{NOWHERE}.h5", "--level", "pbe"],
    "demo": ["demo", "--seeds", "0"],
}


def cpu_seconds(code: str, compiled: str) -> float:
    """Runs a line of Python in a new process and returns its CPU time.

    Args:
        code: the line.
        compiled: the folder of compiled modules.
    """
    kept = {name: x for name, x in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = os.times()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**kept, "PYTHONPYCACHEPREFIX": compiled},
            capture_output=True,
            check=False,
        )
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=", ".join(COMMANDS))
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    chosen = arguments.commands or list(COMMANDS)
    lines = {TORCH: TORCH} | {
        name: f"from tlpot.cli import main; main({COMMANDS[name]!r})" for name in chosen
    }
    times: dict[str, list[float]] = {name: [] for name in lines}
    with tempfile.TemporaryDirectory() as compiled:
        for turn in range(arguments.repeats + 1):
            for name, code in lines.items():
                seconds = cpu_seconds(code, compiled)
                if turn:
                    times[name].append(seconds)
    torch = statistics.median(times[TORCH])
    print(f"{'':16}{'s':>8}{'of torch':>10}   medians of {arguments.repeats} turns")
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"{name:16}{middle:>8.2f}{middle / torch:>10.2f}")


if __name__ == "__main__":
    main()
