"""A potential for a crystal: strained cells, stresses among the labels, lattice and stiffness.

ASE's EMT stands for DFT, which `engine` would name instead: an ASE calculator here, or in another
environment (docs/labelling.md). With an imported foundation model as parent, `tlpot.finetune`
takes the place of `tlpot.train` (docs/foreign.md).
"""

import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

import tlpot


def lattice_and_bulk_modulus(calculator) -> tuple[float, float]:
    """Returns the lattice constant of copper, Å, and its bulk modulus, GPa."""
    atoms = bulk("Cu", cubic=True)
    atoms.calc = calculator
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=50)
    length, pressures = atoms.cell[0, 0], []
    for scale in (0.995, 1.005):
        atoms.set_cell(np.eye(3) * length * scale, scale_atoms=True)
        pressures.append(-atoms.get_stress()[:3].mean())
    slope = (pressures[0] - pressures[1]) / (1.005**3 - 0.995**3)  # -V dp/dV, eV/Å³
    return length, slope * 160.2177


with tempfile.TemporaryDirectory() as folder:
    pool = Path(folder) / "copper.h5"
    sampled = tlpot.sample(
        {"Cu4": bulk("Cu", cubic=True), "Cu1": bulk("Cu")},
        pool,
        engine="ase:ase.calculators.emt:EMT",
        level="emt",
        budget=60,
        temperatures=(300, 900),
        interval=10,
    )
    print(sampled)
    trained = tlpot.train(
        pool,
        level="emt",
        preset="tiny",
        epochs=60,
        output=Path(folder) / "copper.safetensors",
        split={"by": "random", "validation": 12, "test": 12},
    )
    print(trained)
    for name, calculator in (
        ("EMT", EMT()),
        ("tlpot", tlpot.TLPotCalculator(Path(folder) / "copper.safetensors", dtype="float64")),
    ):
        length, modulus = lattice_and_bulk_modulus(calculator)
        print(f"{name:6} a = {length:.3f} Å, bulk modulus {modulus:.0f} GPa")
