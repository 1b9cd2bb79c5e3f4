"""Assemble a peptide from fragments: compare schemes with the whole, then run a little MD."""

import tempfile
from pathlib import Path

import numpy as np
import torch

import tlpot
from tlpot.calculators import FragmentCalculator
from tlpot.dynamics import MDSettings, run_md
from tlpot.structures import build_peptide
from tlpot.topology import perceive_topology

torch.set_num_threads(1)  # more threads slow small molecules down

atoms = build_peptide("AGSA", conformation="helix")
topology = perceive_topology(atoms)  # from the positions alone
print(topology.summary())

# tlpot-tiny sees 2 x 4.5 Å far: dipeptides are too short for it, dimers nearly long enough
model = tlpot.load("tlpot-tiny")
atoms.calc = FragmentCalculator(atoms, model, "direct")
energy, forces = atoms.get_potential_energy(), atoms.get_forces()
for scheme in ("mfcc", "mfcc2", "gmfcc", "mfcc_mbe2"):
    atoms.calc = FragmentCalculator(atoms, model, scheme, topology=topology)
    error = atoms.get_potential_energy() - energy
    mae = np.abs(atoms.get_forces() - forces).mean()
    print(f"{scheme:10} {1e3 * error:+8.1f} meV from the whole, forces {1e3 * mae:6.2f} meV/Å")

atoms.calc = FragmentCalculator(atoms, model, "mfcc_mbe2", topology=topology)
with tempfile.TemporaryDirectory() as folder:
    settings = MDSettings(ensemble="nve", temperature=100, timestep=0.5, steps=20, log_every=2)
    result = run_md(atoms, atoms.calc, settings, Path(folder) / "md", progress=False)
totals = [sample.total for sample in result.samples]
print(f"10 fs of NVE: the total energy stays within {1e3 * np.ptp(totals):.1f} meV")
