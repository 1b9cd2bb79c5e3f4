"""Time against the number of residues: python scaling.py [--model tlpot-tiny].

ACE-Ala_n-NME as a helix, and helices of 12 residues packed side by side as a globule. Prints the
time of an energy and force evaluation, split into the model and everything else, atoms evaluated
per atom, time per evaluated atom, and slopes of log t against log n: of the line through all sizes
and between neighbouring sizes. Times are medians, after evaluations that are not counted.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from ase import Atoms

from tlpot.calculators import FragmentCalculator
from tlpot.graph import AtomGraph
from tlpot.models import load
from tlpot.structures import build_peptide

WARM = 3
"""Evaluations that are not counted."""


class Clocked:
    """An energy model that knows how long it took, with its share of the gradient."""

    def __init__(self, model) -> None:
        self.model, self.seconds = model, 0.0
        self.cutoff, self.elements = model.cutoff, model.elements
        self.uses_charge, self.layout = model.uses_charge, model.layout

    def atomic_energies(self, graph: AtomGraph) -> torch.Tensor:
        """Evaluates forwards and, through a hook on either end, backwards."""
        begun = time.perf_counter()
        energies = self.model.atomic_energies(graph)
        self.seconds += time.perf_counter() - begun
        if energies.requires_grad:
            mark = [0.0]
            energies.register_hook(lambda g: mark.__setitem__(0, time.perf_counter()))
            graph.positions.register_hook(
                lambda g: setattr(self, "seconds", self.seconds + time.perf_counter() - mark[0])
            )
        return energies


def globule(n_residues: int) -> Atoms:
    """Helices of 12 alanines on a square lattice, 9 Å apart."""
    one = build_peptide("A" * 12, conformation="helix")
    one.positions -= one.positions.mean(0)
    _, _, axes = np.linalg.svd(one.positions, full_matrices=False)
    one.positions = one.positions @ axes.T[:, [1, 2, 0]]
    count = round(n_residues / 12)
    side = int(np.ceil(count ** (1 / 3)))
    height = np.ptp(one.positions[:, 2]) + 4.0
    places = [
        (9.5 * i, 9.5 * j, height * k)
        for k in range(count) for i in range(side + 1) for j in range(side + 1)
    ][:count]  # fmt: skip
    total = Atoms()
    for place in places:
        copy = one.copy()
        copy.positions += place
        total += Atoms(copy.numbers, copy.positions)
    return total


def measure(atoms: Atoms, model, scheme: str, repeats: int) -> tuple[float, float, float]:
    clocked = Clocked(model)
    calculator = FragmentCalculator(atoms, clocked, scheme)
    atoms = atoms.copy()
    atoms.calc = calculator
    atoms.get_forces()
    rng, total, own = np.random.default_rng(0), [], []
    for _ in range(WARM + repeats):  # small steps: lists are kept or renewed
        atoms.positions += 0.01 * rng.normal(size=atoms.positions.shape)
        clocked.seconds, begun = 0.0, time.perf_counter()
        atoms.get_forces()
        total.append(time.perf_counter() - begun)
        own.append(clocked.seconds)
    partition = calculator.force_field.partition(atoms.numbers.astype(np.int64), atoms.positions)
    cost = partition.batch.assembly.n_rows / len(atoms)
    return float(np.median(total[WARM:])), float(np.median(own[WARM:])), cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tlpot-tiny")
    parser.add_argument("--level", default=None)
    parser.add_argument("--schemes", default="mfcc,mfcc2,mfcc_mbe2")
    parser.add_argument("--residues", default="12,24,48,96,204")
    parser.add_argument("--shapes", default="helix,globule")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load(options.model).eval().requires_grad_(False).at(options.level)
    sizes = [int(n) for n in options.residues.split(",")]
    for shape in options.shapes.split(","):
        for scheme in options.schemes.split(","):
            times = []
            for n in sizes:
                atoms = build_peptide("A" * n, conformation="helix") if shape == "helix" else None
                atoms = globule(n) if atoms is None else atoms
                total, own, cost = measure(atoms, model, scheme, options.repeats)
                times.append(total)
                print(
                    f"{shape:8s} {scheme:10s} {n:4d} residues {len(atoms):5d} atoms x{cost:4.1f} "
                    f"{1e3 * total:8.1f} ms, model {1e3 * own:8.1f} ms, "
                    f"overhead {100 * (total / own - 1):.1f} %, "
                    f"{1e6 * total / (cost * len(atoms)):.1f} µs per evaluated atom",
                    flush=True,
                )
            slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
            steps = np.diff(np.log(times)) / np.diff(np.log(sizes))
            between = ", ".join(f"{s:.2f}" for s in steps)
            print(f"{shape:8s} {scheme:10s} slope {slope:.2f}, between sizes {between}", flush=True)


if __name__ == "__main__":
    main()
