"""Cost and memory from 100 to 10,000 atoms: python benchmarks/speed/scaling.py --preset small.

Row R6. Boxes of water molecules on a lattice at the density of the liquid (a toy structure: only
the number of neighbours matters), random weights, energies and forces through the ASE calculator
with its neighbour list. Each size runs in a process of its own; memory is the growth of the
peak resident set over what the process held before the first evaluation.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from contest import check_idle, processor

from tlpot.calculators import TLPotCalculator
from tlpot.models import Potential, preset

SPACING = 3.104
"""Å between molecules: 0.997 g/cm³."""


def box(n_atoms: int) -> Atoms:
    """Randomly turned water molecules on a lattice as cubic as the number allows."""
    n = round(n_atoms / 3)
    sides = np.ones(3, dtype=int)
    while sides.prod() < n:
        sides[sides.argmin()] += 1
    rng = np.random.default_rng(0)
    atoms = Atoms(cell=SPACING * sides, pbc=True)
    for place in list(np.ndindex(*sides))[:n]:
        water = molecule("H2O")
        water.rotate(360 * rng.random(), rng.normal(size=3))
        water.translate(SPACING * np.array(place))
        atoms += water
    return atoms


def one_size(name: str, n_atoms: int, repeats: int, threads: int) -> None:
    torch.set_num_threads(threads)
    references = {1: 0.0, 8: 0.0}
    potential = Potential.create(preset(name, (1, 8)), {"random": references})
    atoms = box(n_atoms)
    atoms.calc = TLPotCalculator(potential)
    rng = np.random.default_rng(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(repeats + 1):
        atoms.positions += rng.normal(0, 2e-3, (len(atoms), 3))
        started = time.perf_counter()
        atoms.get_forces()
        times.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"n": len(atoms), "seconds": times[1:], "kilobytes": peak - before}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", nargs="+", default=["tiny", "small"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300, 1000, 3000, 10000])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", action="store_true", help="measure on a busy machine, too")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one_size(options.one, options.sizes[0], options.repeats, options.threads)
        return
    print(f"R6, {processor()}, {options.threads} thread(s), {options.repeats} repeats")
    check_idle()
    for name in options.preset:
        rows = []
        columns = f"{'atoms':>8}{'ms, median':>14}{'10 to 90 %':>22}"
        print(f"{name}\n{columns}{'µs/atom':>10}{'MB/atom':>10}")
        for n_atoms in options.sizes:
            command = [sys.executable, __file__, "--one", name, "--sizes", str(n_atoms)]
            command += ["--repeats", str(options.repeats), "--threads", str(options.threads)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row = json.loads(done.stdout.splitlines()[-1])
            n, times = row["n"], 1e3 * np.array(row["seconds"])
            low, middle, high = np.percentile(times, [10, 50, 90])
            rows.append((n, middle))
            print(
                f"{n:>8}{middle:>14.2f}{f'{low:.2f} to {high:.2f}':>22}{1e3 * middle / n:>10.1f}"
                f"{row['kilobytes'] / 1024 / n:>10.3f}",
                flush=True,
            )
        sizes, medians = np.log(np.array(rows).T)
        print(f"slope {np.polyfit(sizes, medians, 1)[0]:.3f}")


if __name__ == "__main__":
    main()
