"""What holding on to the parent's forces does to a fine-tuning on energies alone.

    python benchmarks/transfer/force_anchor.py
    python benchmarks/transfer/force_anchor.py --data DIR --parent MP2_MODEL

Without a parent: 48 CCSD(T)/CBS energies of small molecules (the shipped data and model), as in
the demo. There are no CCSD(T) forces, so the test is how far the forces are from ωB97X's labels;
the two levels differ by far less than a broken model.

With one: H2CO, MP2 to CCSD(T). The forces of the CCSD(T) file are hidden from the training and
used for the test. DIR holds vpt2-tl/ (Käser et al., doi:10.1021/acs.jctc.1c00249;
https://github.com/dralgroup/ani1ccxgelu); the parent is that of tasks.py T1.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from tlpot.data import open_dataset
from tlpot.evaluation import predict
from tlpot.jobs import finetune, finetune_config
from tlpot.models import LIBRARY, load

CC, CBS, DFT = "ccsd(t)/aug-cc-pvtz", "ccsd(t)/cbs(dt)", "wb97x/6-31g*"
HELD_OUT = ("aziridine", "dimethylamine", "ethanol", "formic_acid", "methanol")
EPOCHS = {25: 250, 100: 120}


def formaldehyde(options: argparse.Namespace, model: Path) -> None:
    """True forces are known, and hidden."""
    if options.data is None:
        raise SystemExit("name the data with --data")
    file = Path(options.data) / "vpt2-tl" / "ch2o_cc_avtz_3601.npz"
    energies_only = options.out / "energies_only.npz"
    np.savez(energies_only, **{k: v for k, v in np.load(file).items() if k != "F"})
    hidden = open_dataset([file], "physnet", level=CC)
    print("labels  anchor   E MAE (meV)   F MAE (meV/Å), by seed; CCSD(T) on 500 test frames")
    for n, epochs in EPOCHS.items():
        settings = {
            "parent": options.parent,
            "data": {"files": [str(energies_only)], "spec": "physnet", "level": CC},
            "level": CC,
            "split": {"by": "random", "validation": n // 5, "test": 500, "train": n - n // 5},
            "training": {"epochs": epochs, "batch_size": 5},
        }
        compare(options, model, settings, f"{n:6}", hidden, CC)


def small_molecules(options: argparse.Namespace, model: Path) -> None:
    """Forces of a level nearby are known."""
    file = LIBRARY / "tlpot-qm.h5"
    print("labels  anchor   E MAE against CCSD(T)/CBS (meV)   F MAE against ωB97X (meV/Å), by seed")
    settings = {
        "parent": "tlpot-tiny",
        "data": {"files": [str(file)]},
        "level": CBS,
        "split": {"by": "random", "validation": 9, "test": list(HELD_OUT), "train": 39},
        "training": {"epochs": 200, "batch_size": 5},
    }
    compare(options, model, settings, f"{48:6}", open_dataset([file]), DFT)


def compare(options, model: Path, settings: dict, name: str, forces, level: str) -> None:
    """Prints a row for each weight of the anchor."""
    for weight in options.weights:
        cells = []
        for seed in range(options.seeds):
            settings = {
                **settings, "output": str(model), "anchor": weight,
                "split": {**settings["split"], "seed": seed},
                "training": {**settings["training"], "seed": seed},
            }  # fmt: skip
            outcome = finetune(finetune_config(settings), overwrite=True, show=False)
            test = json.loads((model.with_suffix(".run") / "split.json").read_text())["test"]
            found = predict(load(model).at(), forces, test, level)
            force_error = 1e3 * np.abs(np.diff(found.forces, axis=-1)).mean()
            cells.append(f"{outcome.end.overall['energy_mae']:8.2f}  {force_error:8.2f}")
        print(f"{name}{weight:8g}   " + " | ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--parent")
    parser.add_argument("--out", type=Path, default=Path("runs/force_anchor"))
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 1e-4, 1e-3, 1e-2, 0.1])
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    task = formaldehyde if options.parent else small_molecules
    task(options, options.out / "model.safetensors")


if __name__ == "__main__":
    main()
