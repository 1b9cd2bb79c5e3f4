"""What the ASE calculator costs on top of the model: python benchmarks/calculator_overhead.py.

An MD step is imitated: atoms move a little, then forces and energy are asked for. Bare model,
calculator and neighbour search take turns in random order, so that a busy machine slows all of
them alike; the overhead is the median of the differences within a turn. Target at 27 atoms: at
most 0.3 ms. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from ase import Atoms

from tlpot.calculators import TLPotCalculator
from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.models import Potential, preset
from tlpot.system import System


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--atoms", type=int, nargs="+", default=[27])
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def cluster(n_atoms: int) -> Atoms:
    """Carbon, hydrogen and oxygen at the density of an organic liquid."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(n_atoms ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)[:n_atoms]
    numbers = rng.choice([1, 6, 8], n_atoms, p=[0.6, 0.3, 0.1])
    return Atoms(numbers, 2.15 * grid + rng.normal(0, 0.15, (n_atoms, 3)))


def timed(call) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - started)


def show(name: str, values: np.ndarray) -> None:
    low, middle, high = np.percentile(values, [10, 50, 90])
    print(f"  {name:34}{middle:9.3f} ms   (10–90 %: {low:.3f} to {high:.3f})")


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    references = {1: -13.6, 6: -1030.0, 7: -1485.0, 8: -2042.0}
    potential = Potential.create(preset(options.preset, tuple(references)), {"random": references})
    calculator = TLPotCalculator(potential, device=options.device)
    where = f"{options.device}, {options.threads} thread(s), torch {torch.__version__}"
    print(f"{options.preset}, {where}")
    for n_atoms in options.atoms:
        atoms = cluster(n_atoms)
        atoms.calc = calculator
        rng = np.random.default_rng(1)
        graph = build_graph([System.from_atoms(atoms)], potential.cutoff).to(options.device)

        def bare(graph=graph) -> None:
            evaluate(calculator.model, graph)

        def step(atoms=atoms) -> None:
            atoms.get_forces()
            atoms.get_potential_energy()

        def search(atoms=atoms) -> None:
            build_graph([System.from_atoms(atoms)], potential.cutoff)

        rows = []
        calls = (bare, step, search)
        for _ in range(options.repeats + 20):
            atoms.positions += rng.normal(0, 2e-3, (n_atoms, 3))
            row = np.zeros(3)
            for k in rng.permutation(3):  # whoever comes first finds the caches as others left them
                row[k] = timed(calls[k])
            rows.append(row)
        model, calculated, searched = np.array(rows[20:]).T
        print(f"{n_atoms} atoms, {options.repeats} repeats")
        show("model alone", model)
        show("calculator", calculated)
        show("overhead of the calculator", calculated - model)
        show("fresh neighbour search (not in use)", searched)


if __name__ == "__main__":
    main()
