"""Builds the force field of examples/5, is killed three times on the way, and goes on.

Prints the time by the clock of every attempt and of all, and whether any label was paid for
twice.

Usage: python benchmarks/force_field/build.py --output FOLDER [--workers 2] [--no-kills]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tlpot.config import read_yaml

EXAMPLE = Path(__file__).parents[2] / "examples" / "5_build_a_force_field.yaml"
KILLS = {"low": 5.0, "pretrain": 20.0, "high": 60.0}
"""Seconds after the start of a stage at which the whole process group gets SIGKILL."""


def attempt(config: Path, workers: int, log: Path, killed_in: str | None, root: Path) -> float:
    """Runs the command, to its end or until it is killed; returns seconds by the clock."""
    command = [sys.executable, "-m", "tlpot.cli", "build", str(config), "--workers", str(workers)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    start = time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            cwd=root,
            env=environment,
            start_new_session=True,
        )
        begun: float | None = None
        while process.poll() is None:
            time.sleep(0.2)
            if killed_in is None:
                continue
            folder = output_folder(config, root) / killed_in
            if begun is None and (folder / "begun.json").exists():
                begun = time.perf_counter()
            if begun is not None and time.perf_counter() - begun > KILLS[killed_in]:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return time.perf_counter() - start
    if process.returncode != 0:
        raise SystemExit(f"tlpot build ended with {process.returncode}; see {log}")
    if killed_in is not None:
        raise SystemExit(f"the build was over before it could be killed in {killed_in!r}")
    return time.perf_counter() - start


def output_folder(config: Path, root: Path) -> Path:
    return root / str(read_yaml(config)["output"])


def paid_twice(journal: Path) -> tuple[int, int]:
    """Labels in a journal, and how many of them are of a geometry that has one already."""
    lines = (
        json.loads(line.partition(" ")[2])
        for line in journal.read_text(encoding="utf-8").splitlines()
    )
    keys = [line["geometry"] for line in lines if "geometry" in line]
    return len(keys), len(keys) - len(set(keys))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-kills", action="store_true")
    arguments = parser.parse_args()
    root: Path = arguments.output
    root.mkdir(parents=True)
    log = root / "build.log"
    total = 0.0
    for stage in [*(() if arguments.no_kills else KILLS), None]:
        seconds = attempt(EXAMPLE, arguments.workers, log, stage, root)
        total += seconds
        what = "to the end" if stage is None else f"killed in {stage}"
        print(f"{seconds / 60:6.1f} min  {what}", flush=True)
    print(f"{total / 60:6.1f} min  in all, {arguments.workers} workers")
    folder = output_folder(EXAMPLE, root)
    for stage in ("low", "high"):
        count, again = paid_twice(folder / stage / "labels.h5.journal")
        print(f"{stage}: {count} labels, {again} of them twice")


if __name__ == "__main__":
    main()
