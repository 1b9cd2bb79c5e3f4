"""Molecules in batches by torch-sim beside ASE: python benchmarks/speed/torch_sim_batches.py [N].

Milliseconds of the processor for each of 1,000 conformers of capped alanine, energies and forces,
medians of N turns: ASE's calculator one by one; `TorchSimModel` in batches; and of the latter the
search for neighbours alone. Then 64 of them relaxed by FIRE to 0.1 eV/Å: torch-sim with
autobatching, and ASE one by one.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
import torch_sim as ts
from ase import Atoms
from ase.optimize import FIRE

from tlpot.calculators import TLPotCalculator
from tlpot.graph import build_graph
from tlpot.simulation import TorchSimModel
from tlpot.structures import build_peptide
from tlpot.system import System

MODEL, LEVEL, NUMBER, BATCH = "tlpot-peptides-tiny", "aimnet2", 1000, 64
RELAXED, FMAX = 64, 0.1
IN_BATCHES = ts.Optimizer.fire if hasattr(ts, "Optimizer") else ts.optimizers.fire
"""torch-sim 0.6, or 0.3."""


def conformers() -> list[Atoms]:
    rng = np.random.default_rng(0)
    one = build_peptide("A")
    found = []
    for _ in range(NUMBER):
        atoms = one.copy()
        atoms.positions += 0.03 * rng.normal(size=atoms.positions.shape)
        found.append(atoms)
    return found


def timed(run: Callable[[], object], number: int = NUMBER) -> float:
    begin = time.process_time()
    run()
    return 1e3 * (time.process_time() - begin) / number


def main() -> None:
    torch.set_num_threads(1)
    structures = conformers()
    calculator, model = TLPotCalculator(MODEL, level=LEVEL), TorchSimModel(MODEL, level=LEVEL)
    batches = [
        ts.io.atoms_to_state(structures[k : k + BATCH], torch.device("cpu"), torch.float64)
        for k in range(0, NUMBER, BATCH)
    ]
    systems = [System.from_atoms(atoms) for atoms in structures]

    def one_by_one() -> None:
        for atoms in structures:
            calculator.calculate(atoms, ["forces"])

    def batched() -> None:
        for state in batches:
            model(state)

    def graphs() -> None:
        for k in range(0, NUMBER, BATCH):
            build_graph(systems[k : k + BATCH], model.batch.model.cutoff)

    runs = {"ASE": one_by_one, "torch-sim": batched, "neighbours": graphs}
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        for name, run in runs.items():
            seen[name].append(timed(run))
    print(f"{NUMBER} conformers of {len(structures[0])} atoms, batches of {BATCH}; ms each")
    for name, values in seen.items():
        print(f"{name:12} {statistics.median(values):8.2f}")

    batcher = ts.InFlightAutoBatcher(
        model=model,
        memory_scales_with="n_atoms",
        max_memory_scaler=RELAXED // 2 * len(structures[0]),
    )

    def relax_batches() -> None:
        ts.optimize(
            system=structures[:RELAXED], model=model, optimizer=IN_BATCHES,
            autobatcher=batcher,
            max_steps=100_000,  # of all batches together
            convergence_fn=ts.generate_force_convergence_fn(FMAX, include_cell_forces=False),
        )  # fmt: skip

    def relax_one_by_one() -> None:
        for given in structures[:RELAXED]:
            atoms = given.copy()
            atoms.calc = calculator
            FIRE(atoms, logfile=None).run(fmax=FMAX)

    print(f"\nrelaxation of {RELAXED} to {FMAX} eV/Å, ms each")
    for name, run in {"ASE": relax_one_by_one, "torch-sim": relax_batches}.items():
        print(f"{name:12} {timed(run, RELAXED):8.1f}", flush=True)


if __name__ == "__main__":
    main()
