"""Attach a potential to ASE: relax ethanol, look at its vibrations, run a little MD."""

import tempfile
from pathlib import Path

import torch
from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS
from ase.vibrations import Vibrations

from tlpot import TLPotCalculator

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

MaxwellBoltzmannDistribution(atoms, temperature_K=300)
dynamics = Langevin(atoms, 0.5 * units.fs, temperature_K=300, friction=0.01 / units.fs)
dynamics.run(200)
print(f"temperature after 0.1 ps {atoms.get_temperature():.0f} K")
