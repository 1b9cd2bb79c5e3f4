"""Labels per second with 1 and 2 workers, warm, and what a second worker brings.

Usage: python benchmarks/labelling/throughput.py [--engine pyscf:hf/def2-svp] [--labels 40]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from ase.build import molecule

from tlpot.engines import EngineSpec
from tlpot.execution import WorkerPool
from tlpot.labelling import LabelSettings, label


def structures(n: int, seed: int) -> list:
    rng = np.random.default_rng(seed)
    found = [molecule("CH3CH2OH") for _ in range(n)]
    for atoms in found:
        atoms.rattle(0.03, rng=rng)
    return found


def rate(n_workers: int, engine: EngineSpec, n: int, folder: Path, seed: int) -> float:
    """Labels per second, after every worker has loaded its program."""
    with WorkerPool(n_workers) as pool:
        options = LabelSettings(in_flight=2 * n_workers, threads=1)
        settings = {"executor": pool, "settings": options, "show": False}
        name = f"{n_workers}-{seed}"
        label(
            structures(4 * n_workers, seed + 1000), engine, folder / f"warm-{name}.h5", **settings
        )
        start = time.perf_counter()
        report = label(structures(n, seed), engine, folder / f"{name}.h5", **settings)
        seconds = time.perf_counter() - start
    assert report.n_labelled == n, report.text()
    return n / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="pyscf:hf/def2-svp")
    parser.add_argument("--labels", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    engine = EngineSpec(name=arguments.engine)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.repeats):
            rates = [rate(n, engine, arguments.labels, Path(folder), seed) for n in (1, 2)]
            ratios.append(rates[1] / rates[0])
            print(
                f"1 worker {rates[0]:.3g}/s, 2 workers {rates[1]:.3g}/s: {ratios[-1]:.2f}",
                flush=True,
            )
    print(f"{arguments.engine}, ethanol: median {np.median(ratios):.2f} times one worker's")


if __name__ == "__main__":
    main()
