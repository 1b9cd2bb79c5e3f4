"""Attach a potential to ASE: relax ethanol, look at its vibrations, run a little MD."""

import tempfile
from pathlib import Path

import torch
from ase.build import molecule
from ase.optimize import BFGS
from ase.vibrations import Vibrations

from tlpot import TLPotCalculator
from tlpot.interfaces import MDSettings, run_md

torch.set_num_threads(1)  # more threads slow small molecules down

atoms = molecule("CH3CH2OH")
atoms.calc = TLPotCalculator("tlpot-tiny", dtype=torch.float64)
BFGS(atoms, logfile=None).run(fmax=1e-3, steps=200)
print(f"energy {atoms.get_potential_energy():.3f} eV")

with tempfile.TemporaryDirectory() as folder:
    vibrations = Vibrations(atoms, name=str(Path(folder) / "vib"))
    vibrations.run()
    frequencies = vibrations.get_frequencies().real
print(f"highest vibration {frequencies.max():.0f} cm-1 (O-H stretch)")

with tempfile.TemporaryDirectory() as folder:
    settings = MDSettings(ensemble="langevin", temperature=300, timestep=0.5, steps=200)
    result = run_md(atoms, atoms.calc, settings, Path(folder) / "md", progress=False)
print(f"temperature after 0.1 ps {result.atoms.get_temperature():.0f} K")
