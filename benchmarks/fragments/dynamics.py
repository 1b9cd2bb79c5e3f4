"""Ten picoseconds through FragmentCalculator: python dynamics.py MODEL --data DIR.

ACE-Ala3-NME and chignolin (charge -2, proteins/chig.pdb of DIR) with a model that has two levels
of theory: E = E_low(whole) + Σ c [E_high − E_low](capped dipeptides). Langevin dynamics at 300 K
after a short relaxation; prints whether a bond broke, the longest bond beside what it was, and
temperature and time per step.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii
from ase.io import read
from ase.optimize import FIRE

from tlpot.calculators import FragmentCalculator
from tlpot.dynamics import MDSettings, run_md
from tlpot.structures import build_peptide


def stretch(atoms: Atoms, bonds: np.ndarray) -> np.ndarray:
    """Lengths of bonds over sums of covalent radii."""
    lengths = np.linalg.norm(atoms.positions[bonds[:, 0]] - atoms.positions[bonds[:, 1]], axis=1)
    radii = covalent_radii[atoms.numbers]
    return lengths / (radii[bonds[:, 0]] + radii[bonds[:, 1]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--high", default="pbe-d3bj/def2-svp")
    parser.add_argument("--low", default="gfn2-xtb")
    parser.add_argument("--scheme", default="mfcc")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--time", type=float, default=10.0, help="ps")
    parser.add_argument("--timestep", type=float, default=1.0, help="fs")
    parser.add_argument("--out", type=Path, default=Path("dynamics"))
    parser.add_argument("--only", choices=("ala3", "chignolin"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    protein = read(options.data / "proteins" / "chig.pdb")
    structures = {
        "ala3": build_peptide("AAA", conformation="helix"),
        "chignolin": Atoms(protein.numbers, protein.positions),
    }
    steps = round(1e3 * options.time / options.timestep)
    for name, atoms in structures.items():
        if options.only not in (None, name):
            continue
        calculator = FragmentCalculator(
            atoms, options.model, options.scheme, low=options.model, level=options.high,
            low_level=options.low, trained_charges=True,
        )  # fmt: skip
        atoms.info.pop("charge", None)
        atoms.calc = calculator
        FIRE(atoms, logfile=None).run(fmax=0.3, steps=100)
        before = stretch(atoms, calculator.topology.bonds)
        settings = MDSettings(
            ensemble="langevin", temperature=300.0, timestep=options.timestep, steps=steps,
            log_every=50,
        )  # fmt: skip
        result = run_md(atoms, calculator, settings, options.out / name, overwrite=True)
        longest = 0.0
        for frame in read(result.trajectory, ":"):
            longest = max(longest, float(stretch(frame, calculator.topology.bonds).max()))
        half = result.temperatures[len(result.temperatures) // 2 :]
        print(
            f"{name}: {steps} steps of {options.timestep:g} fs, longest bond {longest:.2f} of the "
            f"covalent radii ({before.max():.2f} before), {half.mean():.0f} ± {half.std():.0f} K "
            f"in the second half, {1e3 * result.seconds_per_step:.1f} ms a step",
            flush=True,
        )


if __name__ == "__main__":
    main()
