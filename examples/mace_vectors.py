"""Energies and forces of a mace-torch model, for `tlpot models import MODEL --check vectors.npz`.

Run it where mace-torch is installed: python mace_vectors.py MODEL STRUCTURES vectors.npz.
STRUCTURES is any file that ASE reads; a few small structures of the elements in use are enough.
"""

import sys

import ase.io
import numpy as np
import torch
from mace.calculators import MACECalculator

torch.set_default_dtype(torch.float64)  # else the nuclear repulsion is rounded to float32
model, structures, output = sys.argv[1:]
frames = ase.io.read(structures, index=":")
data = {"n": len(frames)}
for k, atoms in enumerate(frames):
    data |= {f"numbers_{k}": atoms.numbers, f"positions_{k}": atoms.positions}
    data |= {f"cell_{k}": atoms.cell.array, f"pbc_{k}": atoms.pbc}
    data |= {f"charge_{k}": atoms.info.get("charge", 0), f"spin_{k}": atoms.info.get("spin", 1)}
heads = getattr(torch.load(model, map_location="cpu", weights_only=False), "heads", ["Default"])
for head in heads:
    which = {"head": head} if len(heads) > 1 else {}
    calculator = MACECalculator(model, device="cpu", default_dtype="float64", **which)
    for k, atoms in enumerate(frames):
        bare = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        bare.info = {"charge": int(data[f"charge_{k}"]), "spin": int(data[f"spin_{k}"])}
        bare.calc = calculator
        data[f"{head}/energy_{k}"] = bare.get_potential_energy()
        data[f"{head}/forces_{k}"] = bare.get_forces()
np.savez(output, **data)
