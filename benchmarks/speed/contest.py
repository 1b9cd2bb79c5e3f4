"""Races between programs that live in environments of their own, a turn each, in random order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
BUSY = 0.08
"""Share of the processors that others may use; beyond it figures are not worth printing."""


@dataclass
class Contestant:
    """A worker process that does one task again and again, when told to.

    Attributes:
        name: for the table.
        process: the worker.
        facts: what it said of itself: number of weights, versions, size of a task.
    """

    name: str
    process: subprocess.Popen
    facts: dict

    @classmethod
    def start(cls, name: str, worker: str, python: str, **settings) -> Contestant:
        """Starts a worker and waits until it is ready."""
        environment = {
            **os.environ,
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": str(settings["threads"]),
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",  # e3nn 0.4.4 with a recent torch
            "TORCHANI_NO_WARN_EXTENSIONS": "1",
            # freed memory stays with the process: all contestants gain by it
            "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
            "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
        }
        process = subprocess.Popen(
            [python, str(HERE / worker), json.dumps(settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        return cls(name, process, json.loads(cls._line(process, name)))

    def run(self, order: str = "run") -> float:
        """Returns the seconds that the task, or the one of this name, took."""
        print(order, file=self.process.stdin, flush=True)
        return float(self._line(self.process, self.name))

    def stop(self) -> None:
        """Ends the worker."""
        self.process.stdin.close()
        self.process.wait(timeout=60)

    @staticmethod
    def _line(process: subprocess.Popen, name: str) -> str:
        for line in process.stdout:
            if line.startswith("> "):
                return line[2:]
        raise SystemExit(f"{name} stopped with status {process.wait()}")


def race(contestants: list[Contestant], repeats: int, warm_up: int = 5) -> dict[str, np.ndarray]:
    """Returns the seconds of every repeat; within a turn the order is random.

    Trainings and simulations repeat their task, so a contestant does it once uncounted before it
    is timed: the one before it has filled the caches with its own data.
    """
    rng = np.random.default_rng(0)
    times = []
    for _ in range(warm_up + repeats):
        turn = np.zeros(len(contestants))
        for k in rng.permutation(len(contestants)):
            contestants[k].run()
            turn[k] = contestants[k].run()
        times.append(turn)
    for contestant in contestants:
        contestant.stop()
    columns = np.array(times[warm_up:]).T
    return {c.name: column for c, column in zip(contestants, columns, strict=True)}


def check_idle() -> None:
    """Stops if somebody else uses the processors."""

    def busy() -> np.ndarray:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
        return np.array(fields, dtype=float)

    if not Path("/proc/stat").exists():
        print("cannot tell whether the machine is idle", file=sys.stderr)
        return
    before = busy()
    time.sleep(2.0)
    spent = busy() - before
    share = 1.0 - (spent[3] + spent[4]) / spent.sum()
    print(f"processors in use by others before the race: {100 * share:.0f} %")
    if share > BUSY and "--busy" not in sys.argv:
        raise SystemExit("the machine is not idle; wait, or add --busy to see figures all the same")


def processor() -> str:
    """Returns the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown processor"
    name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")
    flags = next((x for x in lines if x.startswith("flags")), "")
    width = next((w for w in ("avx512f", "avx2") if w in flags), "")
    return f"{os.cpu_count()} x {name} {width}"


def show(
    contestants: list[Contestant], times: dict[str, np.ndarray], unit: str, scale: float
) -> None:
    """Prints median and spread of each, and its ratio to every other one.

    Args:
        contestants: for their facts.
        times: seconds.
        unit: of the printed figure.
        scale: figure per second.
    """
    print(f"{'':34}{'weights':>10}{unit + ', median':>22}{'10 to 90 %':>20}{'smallest':>12}")
    for contestant in contestants:
        values = scale * times[contestant.name]
        low, middle, high = np.percentile(values, [10, 50, 90])
        spread = f"{low:.2f} to {high:.2f}"
        weights = f"{contestant.facts['weights']:,}" if contestant.facts["weights"] else ""
        print(f"{contestant.name:34}{weights:>10}{middle:>22.2f}{spread:>20}{values.min():>12.2f}")
    peers = [c.name for c in contestants if not c.name.startswith("tlpot")]
    for peer in peers:
        for name in times:
            if name.startswith("tlpot"):
                ratio = times[peer] / times[name]
                low, middle, high = np.percentile(ratio, [10, 50, 90])
                print(f"  {peer} / {name}: {middle:.2f} ({low:.2f} to {high:.2f})")
