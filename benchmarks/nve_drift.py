"""Energy conservation in NVE dynamics: python benchmarks/nve_drift.py MODEL.

Each molecule is relaxed, brought to the temperature by 1 ps of Langevin dynamics, and then left
to itself. The drift is the slope of a straight line through the total energy. Criterion: below
0.05 meV/atom/ps for methanol and ethanol at 300 K over 10 ps with 0.5 fs. The exit status is 1
if it is not met.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule
from ase.optimize import BFGS

from tlpot.calculators import TLPotCalculator
from tlpot.dynamics import MDSettings, run_md

CRITERION = 0.05
"""meV/atom/ps."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a model file, or the name of a shipped model")
    parser.add_argument("--level")
    parser.add_argument("--molecules", nargs="+", default=["CH3OH", "CH3CH2OH"])
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--time", type=float, default=10.0, help="ps")
    parser.add_argument("--dtype", help="float32 or float64; default as stored")
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("nve_drift"))
    return parser.parse_args()


def main() -> int:
    options = arguments()
    torch.set_num_threads(options.threads)
    calculator = TLPotCalculator(
        options.model, level=options.level, device=options.device, dtype=options.dtype
    )
    common = {
        "temperature": options.temperature,
        "timestep": options.timestep,
        "seed": options.seed,
    }
    warm_up = MDSettings(ensemble="langevin", steps=round(1e3 / options.timestep), **common)
    nve = MDSettings(ensemble="nve", steps=round(1e3 * options.time / options.timestep), **common)
    print(f"{options.model}, {calculator.level}, {options.time:g} ps of {options.timestep:g} fs")
    worst = 0.0
    for name in options.molecules:
        atoms = molecule(name)
        atoms.calc = calculator
        BFGS(atoms, logfile=None).run(fmax=0.01, steps=500)
        warm = run_md(atoms, calculator, warm_up, options.out / f"{name}-warm", overwrite=True)
        result = run_md(warm.atoms, calculator, nve, options.out / name, overwrite=True)
        total = np.array([s.total for s in result.samples])
        fluctuation = 1e3 * total.std() / len(atoms)
        print(
            f"{name:10} drift {result.drift:+.5f} meV/atom/ps, fluctuation {fluctuation:.4f} "
            f"meV/atom, {result.temperatures.mean():.0f} K, "
            f"{1e3 * result.seconds_per_step:.2f} ms/step"
        )
        worst = max(worst, abs(result.drift))
    met = worst < CRITERION
    print(f"largest drift {worst:.5f}, criterion {CRITERION}: {'met' if met else 'NOT met'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
