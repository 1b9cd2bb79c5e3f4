"""tlpot and mace-torch in one fresh environment: python beside_mace.py [--out DIR].

Makes two environments with this repository: one with mace-torch (constraints-mace.txt, e3nn 0.4.4)
and one without (constraints.txt, e3nn 0.6). Prints what pip check says of the first, runs both
programs in it on one structure, and compares the energies of the shipped models in float64 between
the two.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHIPPED = """
import numpy as np, torch, tlpot, importlib.metadata as m
from ase.build import molecule
found = []
for name in ("tlpot-tiny", "tlpot-fragments"):
    for species in ("CH3CH2OH", "CH3CONH2", "H2O"):
        atoms = molecule(species)
        potential = tlpot.load(name, dtype=torch.float64)
        atoms.calc = tlpot.TLPotCalculator(potential.at(potential.levels[-1]))
        found += [atoms.get_potential_energy(), *atoms.get_forces().ravel()]
print(">", m.version("e3nn"), " ".join(x.hex() for x in found))
"""
BOTH = """
import warnings
warnings.filterwarnings("ignore")
import sys, mace, numpy as np, tlpot
from ase.build import molecule
from mace.calculators import MACECalculator
model = sys.argv[1]
energies = []
for calc in (MACECalculator(model, device="cpu", default_dtype="float64"),
             tlpot.TLPotCalculator(tlpot.import_model(model).potential)):
    atoms = molecule("CH3CH2OH")
    atoms.calc = calc
    energies.append(atoms.get_potential_energy())
print("> mace-torch", *energies, "difference", energies[0] - energies[1])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/beside"))
    options = parser.parse_args()
    energies = {}
    for name, extra in (("constraints-mace", ["mace-torch"]), ("constraints", [])):
        python = options.out / name / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", options.out / name], check=True)
            subprocess.run(
                [python, "-m", "pip", "install", "-q", "-c", ROOT / f"{name}.txt", "torch", *extra,
                 ROOT], check=True,
            )  # fmt: skip
        print(f"{name}:", said(python, "-m", "pip", "check"))
        line = said(python, "-c", SHIPPED)
        version, *numbers = line.partition("> ")[2].split()
        energies[version] = [float.fromhex(x) for x in numbers]
        if extra:
            model = ROOT / "tests" / "models" / "mace" / "off-0.3.16.model"
            print("both on one molecule:", said(python, "-c", BOTH, str(model)).partition("> ")[2])
    first, second = energies.values()
    worst = max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(first, second, strict=True))
    print(f"shipped models under e3nn {' and '.join(energies)}: largest relative difference "
          f"{worst:.1e} of {len(first)} numbers")  # fmt: skip


def said(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    return (done.stdout + (done.stderr if done.returncode else "")).strip()


if __name__ == "__main__":
    main()
