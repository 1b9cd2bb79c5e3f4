"""The fused call beside the compiled kernels within torch: fused.py [CASE ...] [--repeats 60].

    python fused.py --mace FILE.model ...        the same for models of mace-torch, imported
    python fused.py --parts                      what of a fused call is neighbour search, what ASE

Both are calculators (or models, for the batch) of one network with random weights, in one process
and with one thread. They take turns in random order, so that a busy machine slows them alike; the
table has the median time of each and of the ratios within a turn, and their quartiles. A step is
one of dynamics: the atoms move a little, then forces and energy are asked for. --mace takes files
as benchmarks/foreign/make_mace.py writes them, in single precision. --cpu-time counts what the
process uses of the processor in place of the time on the wall, for machines that are never idle.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

sys.path.insert(0, str(Path(__file__).parents[1]))
from calculator_overhead import cluster

from tlpot.calculators import FragmentCalculator, TLPotCalculator
from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.models import Potential, import_mace, preset
from tlpot.structures import build_peptide
from tlpot.system import System
from tlpot.verlet_list import VerletList

ELEMENTS = (1, 6, 7, 8)
PEPTIDE = "AAAGAAAAAAAAAGAA"


def network(name: str, kernels: str) -> Potential:
    if name.endswith(".model"):
        found = import_mace(name, levels="imported", dtype=torch.float32, kernels=kernels)
        return found.potential.requires_grad_(False)
    levels = {"random": dict.fromkeys(ELEMENTS, 0.0)}
    return Potential.create(preset(name, ELEMENTS), levels, kernels=kernels).requires_grad_(False)


def steps(atoms: Atoms, calculator) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    atoms, start = atoms.copy(), atoms.positions.copy()
    atoms.calc = calculator

    def step() -> None:
        atoms.positions = start + rng.normal(0, 2e-3, start.shape)
        atoms.get_forces()
        atoms.get_potential_energy()

    return step


def calculator(atoms: Atoms, name: str) -> Callable[[str], Callable[[], None]]:
    def start(kernels: str) -> Callable[[], None]:
        potential, given = network(name, kernels), atoms.copy()
        if potential.architecture.charge_spin and atoms.numbers.sum() % 2:
            given.info["spin"] = 2
        return steps(given, TLPotCalculator(potential))

    return start


def fragments(scheme: str) -> Callable[[str], Callable[[], None]]:
    atoms = build_peptide(PEPTIDE)

    def start(kernels: str) -> Callable[[], None]:
        made = FragmentCalculator(atoms, high=network("tiny", kernels), scheme=scheme)
        return steps(atoms, made)

    return start


def batch(kernels: str) -> Callable[[], None]:
    potential = network("tiny", kernels)
    rng = np.random.default_rng(0)
    structures = []
    for _ in range(64):
        atoms = cluster(27)
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        structures.append(System.from_atoms(atoms))
    graph = build_graph(structures, potential.cutoff, layout=potential.layout)
    return lambda: evaluate(potential.at(), graph)


CASES: dict[str, Callable[[], Callable[[str], Callable[[], None]]]] = {
    "9 atoms, tiny": lambda: calculator(molecule("CH3CH2OH"), "tiny"),
    "27 atoms, tiny": lambda: calculator(cluster(27), "tiny"),
    "27 atoms, small": lambda: calculator(cluster(27), "small"),
    "166 atoms, tiny": lambda: calculator(build_peptide(PEPTIDE), "tiny"),
    "64 x 27 atoms, tiny": lambda: batch,
    "mfcc, tiny": lambda: fragments("mfcc"),
    "mfcc_mbe2, tiny": lambda: fragments("mfcc_mbe2"),
}


def mace_cases(
    files: list[str],
) -> dict[str, Callable[[], Callable[[str], Callable[[], None]]]]:
    structures = {"9 atoms": molecule("CH3CH2OH"), "27 atoms": cluster(27)}
    return {
        f"{size}, {Path(file).stem}": lambda atoms=atoms, file=file: calculator(atoms, file)
        for file in files
        for size, atoms in structures.items()
    }


def show_parts(repeats: int, clock: Callable[[], float]) -> None:
    """Prints medians, ms: neighbour search alone, with the fused call, and the whole calculator."""
    print(f"{'':22}{'pairs':>10}{'+ fused':>10}{'step':>10}   share of pairs (searches)")
    for atoms in (cluster(27), build_peptide(PEPTIDE)):
        potential = network("tiny", "fused")
        pairs = VerletList(potential.cutoff, layout=potential.layout)
        whole = steps(atoms, TLPotCalculator(potential))
        rng = np.random.default_rng(0)
        taken = np.empty((repeats + 3, 3))
        for turn in range(repeats + 3):
            moved = atoms.copy()
            moved.positions += rng.normal(0, 2e-3, moved.positions.shape)
            system = System.from_atoms(moved)
            times = [clock()]
            graph = pairs.graph(system)
            times.append(clock())
            evaluate(potential.at(), graph)
            times.append(clock())
            whole()
            times.append(clock())
            taken[turn] = np.subtract(times[1:], [times[0], times[0], times[2]])
        search, call, step = 1e3 * np.median(taken[3:], axis=0)
        name = f"{len(atoms)} atoms, tiny"
        columns = f"{search:7.3f} ms{call:7.3f} ms{step:7.3f} ms"
        print(f"{name:22}{columns}   {search / step:.1%} ({pairs.n_searches})")


def race(
    start: Callable[[str], Callable[[], None]], repeats: int, clock: Callable[[], float]
) -> np.ndarray:
    """Returns seconds, [repeats, 2]: of the compiled kernels, of the fused call."""
    tasks = [start(kernels) for kernels in ("compiled", "fused")]
    rng = np.random.default_rng(0)
    for task in tasks * 3:
        task()
    taken = np.empty((repeats, 2))
    for turn in range(repeats):
        for k in rng.permutation(2):
            begun = clock()
            tasks[k]()
            taken[turn, k] = clock() - begun
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all that begin so; default all")
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mace", nargs="+", default=[], metavar="FILE")
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu_time else time.perf_counter
    if options.parts:
        show_parts(options.repeats, clock)
        return
    print(f"{'':22}{'compiled':>10}{'fused':>10}   ratio (quartiles)")
    for name, make in (mace_cases(options.mace) or CASES).items():
        if options.cases and not name.startswith(tuple(options.cases)):
            continue
        taken = race(make(), options.repeats, clock)
        before, now = 1e3 * np.median(taken, axis=0)
        low, middle, high = np.percentile(taken[:, 0] / taken[:, 1], [25, 50, 75])
        print(f"{name:22}{before:7.2f} ms{now:7.2f} ms   {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
