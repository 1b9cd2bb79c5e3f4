"""Imported models of the published sizes against mace-torch: python accuracy.py --peer PYTHON.

For each file of --models (made by make_mace.py, or published ones) mace-torch evaluates a few
structures in float64 (examples/mace_vectors.py), and the import compares itself with them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import ase.io
from ase import Atoms
from ase.build import molecule

import tlpot

VECTORS = Path(__file__).parents[2] / "examples" / "mace_vectors.py"


def structures() -> list[Atoms]:
    """Molecules, pairs near and far, a lone atom, and a cell smaller than the cutoff."""
    found = [molecule(name) for name in ("CH3CH2OH", "CH3NO2", "CH3CONH2")]
    for k, atoms in enumerate(found):
        atoms.rattle(0.05, seed=k)
    for distance in (4.0, 40.0):
        pair, other = molecule("H2O"), molecule("NH3")
        other.translate([0, 0, distance])
        found.append(pair + other)
    cell = molecule("H2O")
    cell.set_cell([3.1, 3.3, 3.0])
    cell.pbc = True
    found += [Atoms("O", [[0.0, 0.0, 0.0]]), cell]
    return [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("runs/foreign/models"))
    parser.add_argument("--peer", required=True, help="Python of an environment with mace-torch")
    options = parser.parse_args()
    frames = options.models / "structures.xyz"
    ase.io.write(frames, structures())
    for model in sorted(options.models.glob("*.model")):
        vectors = model.with_suffix(".npz")
        subprocess.run(
            [options.peer, VECTORS, model, frames, vectors], check=True, capture_output=True
        )
        found = tlpot.import_model(model, check=vectors)
        errors = ", ".join(f"{name} {value:.1e}" for name, value in found.vectors.items())
        print(
            f"{model.stem:12} relative to mace-torch in float64: {errors}; couplings "
            f"{found.coupling_error:.1e}, symmetry {found.checks['symmetry']:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
