"""Time of a force call beside the teachers', one thread, in turns (22 atoms).

    python speed.py MODEL [MODEL ...] --aimnet2 FILE.jpt [--turns 25]

Alanine dipeptide; each call has new positions. GFN2-xTB is tblite's, restarted from the density of
the call before, as in dynamics.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from ase import Atoms

import tlpot
from tlpot.calculators import named_calculator
from tlpot.structures import capped_residues

CALLS = 5
"""In each turn."""


def main() -> None:
    """Parses the command line and prints medians and ratios with 10 to 90 %."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--aimnet2", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=25)
    given = parser.parse_args()
    torch.set_num_threads(1)
    atoms = capped_residues()["ACE-ALA-NME"]
    calculators = {
        "aimnet2": named_calculator(f"torch:{given.aimnet2}"),
        "gfn2-xtb": named_calculator("gfn2-xtb"),
        **{
            Path(model).stem: tlpot.TLPotCalculator(model, level=tlpot.load(model).levels[0])
            for model in given.models
        },
    }
    rng = np.random.default_rng(0)
    for calculator in calculators.values():
        timed(atoms, calculator, rng)
    seconds: dict[str, list[float]] = {name: [] for name in calculators}
    for _ in range(given.turns):
        for name in rng.permutation(list(calculators)):
            seconds[name].append(timed(atoms, calculators[name], rng))
    print(f"{len(atoms)} atoms, ms a call, median of {given.turns} turns")
    for name, found in seconds.items():
        ratios = {
            teacher: np.array(seconds[teacher]) / np.array(found)
            for teacher in ("aimnet2", "gfn2-xtb")
        }
        words = "  ".join(
            f"{teacher} x {mid:.1f} ({low:.1f} to {high:.1f})"
            for teacher, r in ratios.items()
            for low, mid, high in [np.quantile(r, [0.1, 0.5, 0.9])]
        )
        print(f"  {name:24} {1e3 * np.median(found):7.2f}   {words}")


def timed(atoms: Atoms, calculator: object, rng: np.random.Generator) -> float:
    """Returns seconds a call."""
    moved = atoms.copy()
    moved.calc = calculator
    began = time.perf_counter()
    for _ in range(CALLS):
        moved.positions = atoms.positions + rng.normal(scale=0.01, size=atoms.positions.shape)
        moved.get_forces()
    return (time.perf_counter() - began) / CALLS


if __name__ == "__main__":
    main()
