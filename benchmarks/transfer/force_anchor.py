"""What holding on to the parent's forces does to a fine-tuning on energies alone.

    python benchmarks/transfer/force_anchor.py --data DIR --parent MP2_MODEL

H2CO, MP2 to CCSD(T): the forces of the CCSD(T) file are hidden from the training and used for
the test. DIR holds vpt2-tl/ (Käser et al., doi:10.1021/acs.jctc.1c00249;
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

from tlpot import load, open_dataset
from tlpot.pipeline import finetune, finetune_config
from tlpot.training import predict

CC = "ccsd(t)/aug-cc-pvtz"
EPOCHS = {25: 250, 100: 120}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--parent", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/force_anchor"))
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 1e-4, 1e-3, 1e-2])
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    if options.data is None:
        raise SystemExit("name the data with --data")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    file = Path(options.data) / "vpt2-tl" / "ch2o_cc_avtz_3601.npz"
    energies_only = options.out / "energies_only.npz"
    np.savez(energies_only, **{k: v for k, v in np.load(file).items() if k != "F"})
    hidden = open_dataset([file], "physnet", level=CC)
    model = options.out / "model.safetensors"
    print("labels  anchor   E MAE (meV)   F MAE (meV/Å), by seed; CCSD(T) on 500 test frames")
    for n, epochs in EPOCHS.items():
        for weight in options.weights:
            cells = []
            for seed in range(options.seeds):
                settings = {
                    "parent": options.parent,
                    "data": {"files": [str(energies_only)], "spec": "physnet", "level": CC},
                    "level": CC, "output": str(model), "anchor": weight,
                    "split": {"by": "random", "validation": n // 5, "test": 500,
                              "train": n - n // 5, "seed": seed},
                    "training": {"epochs": epochs, "batch_size": 5, "seed": seed},
                }  # fmt: skip
                finetune(finetune_config(settings), overwrite=True, show=False)
                test = json.loads((model.with_suffix(".run") / "split.json").read_text())["test"]
                found = predict(load(model).at(), hidden, test, CC)
                errors = [np.diff(x, axis=-1) for x in (found.energy, found.forces)]
                cells.append("  ".join(f"{1e3 * np.abs(e).mean():8.2f}" for e in errors))
            print(f"{n:6}{weight:8g}   " + " | ".join(cells), flush=True)


if __name__ == "__main__":
    main()
