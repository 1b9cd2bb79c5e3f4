"""Fine-tune the shipped ωB97X model to coupled cluster with 30 labels, and use the result."""

import tempfile
from pathlib import Path

import torch
from ase.build import molecule

from tlpot.calculators import TLPotCalculator
from tlpot.jobs import finetune, finetune_config
from tlpot.models import LIBRARY

torch.set_num_threads(1)

with tempfile.TemporaryDirectory() as folder:
    model = Path(folder) / "cc.safetensors"
    config = finetune_config(
        {
            "parent": "tlpot-tiny",
            "data": {"files": [str(LIBRARY / "tlpot-qm.h5")]},
            "level": "ccsd(t)/cbs(dt)",
            "strategy": "full",
            "output": str(model),
            "split": {"by": "random", "test": ["ethanol"], "validation": 6, "train": 24},
            "training": {"epochs": 40, "batch_size": 8, "validate_every": 5},
        }
    )
    outcome = finetune(config, show=False)
    print(f"ethanol, before: E MAE {outcome.start.overall['energy_mae']:.1f} meV")
    print(f"ethanol, after:  E MAE {outcome.end.overall['energy_mae']:.1f} meV")

    atoms = molecule("H2O")
    atoms.calc = TLPotCalculator(model)
    print(f"water at CCSD(T): {atoms.get_potential_energy():.3f} eV")
