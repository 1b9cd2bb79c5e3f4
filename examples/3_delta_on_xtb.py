"""Delta learning on GFN2-xTB: learn what coupled cluster adds to it, and relax with the sum.

The labels ship with tlpot: small molecules at GFN2-xTB and CCSD(T). Needs tlpot[xtb].
"""

import tempfile
from pathlib import Path

import torch
from ase.build import molecule
from ase.optimize import BFGS
from tblite.ase import TBLite

from tlpot.calculators import DeltaCalculator
from tlpot.jobs import finetune, finetune_config
from tlpot.models import LIBRARY

torch.set_num_threads(1)  # more threads slow small molecules down

with tempfile.TemporaryDirectory() as folder:
    model = Path(folder) / "delta.safetensors"
    config = finetune_config(
        {
            "parent": "tlpot-tiny",  # its elements; the low level is that of the labels
            "data": {"files": [str(LIBRARY / "tlpot-qm.h5")]},
            "level": "ccsd(t)/cbs(dt)",
            "strategy": {"name": "delta", "low": "gfn2-xtb"},
            "output": str(model),
            "split": {"by": "random", "test": ["ethanol"], "validation": 30, "train": 120},
            "training": {"epochs": 40, "batch_size": 16, "validate_every": 5},
        }
    )
    outcome = finetune(config, show=False)
    start, end = (errors.overall["energy_mae"] for errors in (outcome.start, outcome.end))
    print(f"ethanol, GFN2-xTB with shifted reference energies: E MAE {start:.1f} meV")
    print(f"ethanol, with the learned difference:              E MAE {end:.1f} meV")

    atoms = molecule("CH3CH2OH")
    atoms.calc = DeltaCalculator(low=TBLite(method="GFN2-xTB", verbosity=0), delta=model)
    relaxation = BFGS(atoms, logfile=None)
    relaxation.run(fmax=0.02, steps=100)
    found = atoms.calc.results
    print(f"relaxed in {relaxation.nsteps} steps to {found['energy']:.3f} eV:")
    print(f"  GFN2-xTB {found['energy_low']:.3f} eV + learned {found['energy_delta']:.3f} eV")
