"""MP2 to CCSD(T): pretrain on seven molecules, fine-tune on 100 frames of one.

Prints, for H2CO and HCOOH, the errors of scratch, head and full on all other CCSD(T) frames,
the error at step 0 and the wall time. The data are those of Käser et al.
(doi:10.1021/acs.jctc.1c00249; npz files of the public repository dralgroup/ani1ccxgelu).

    python benchmarks/vpt2_transfer.py --data DIR_WITH_vpt2-tl --out runs/vpt2
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from tlpot.jobs import finetune, finetune_config, train_config, train_from_scratch

MP2 = "mp2/aug-cc-pvtz"
CC = "ccsd(t)/aug-cc-pvtz"
MP2_FILES = (
    "ch2o_mp2_avtz_3601.npz",
    "ch3cho_mp2_avtz_10073.npz",
    "ch3cooh_mp2_avtz_10910.npz",
    "ch3no2_mp2_avtz_9001.npz",
    "hono_mp2_avtz_6406.npz",
    "meuwly_db_CH3OH_MP2.npz",
    "meuwly_db_HCOOH_MP2.npz",
)
CC_FILES = {"H2CO": "ch2o_cc_avtz_3601.npz", "HCOOH": "hcooh_cc_avtz_5401.npz"}
N_TRAIN, N_VALIDATION = 100, 20


def pretrain(data: Path, out: Path, epochs: int) -> Path:
    model = out / "mp2.safetensors"
    if model.exists():
        return model
    config = train_config(
        {
            "data": {"files": [str(data / f) for f in MP2_FILES], "spec": "physnet", "level": MP2},
            "output": str(model),
            "split": {"by": "random", "validation": 1000},
            "training": {"epochs": epochs, "batch_size": 32},
            "defaults": 1,  # as in RESULTS.md
        }
    )
    resume = (model.with_suffix(".run") / "checkpoint.safetensors").exists()
    outcome = train_from_scratch(config, resume=resume)
    print(f"pretrained in {outcome.training.seconds:.0f} s: {outcome.end.text()}", flush=True)
    return model


def transfer(
    data: Path, out: Path, parent: Path, molecule: str, strategy: str, seed: int, epochs: int
) -> dict[str, float]:
    """Fine-tunes on 100 frames of which 20 decide what weights are kept; tests on the rest."""
    files = [str(data / CC_FILES[molecule])]
    n_frames = len(np.load(files[0])["E"])
    config = finetune_config(
        {
            "parent": str(parent),
            "data": {"files": files, "spec": "physnet", "level": CC},
            "level": CC,
            "strategy": strategy,
            "output": str(out / f"{molecule}-{strategy}-{seed}.safetensors"),
            "split": {
                "by": "random",
                "test": n_frames - N_TRAIN,
                "validation": N_VALIDATION,
                "seed": seed,
            },
            "training": {"epochs": epochs, "batch_size": 5, "seed": seed, "validate_every": 5},
            "defaults": 1,
        }
    )
    started = time.perf_counter()
    outcome = finetune(config, overwrite=True, show=False)
    return {
        "E0": outcome.start.overall["energy_mae"],
        "F0": outcome.start.overall["forces_mae"],
        "E": outcome.end.overall["energy_mae"],
        "F": outcome.end.overall["forces_mae"],
        "s": time.perf_counter() - started,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/vpt2"))
    parser.add_argument("--pretrain-epochs", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--molecules", nargs="+", default=list(CC_FILES), choices=list(CC_FILES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pretrain-only", action="store_true")
    arguments = parser.parse_args()
    if arguments.data is None:
        sys.exit("name the directory of the data with --data or TLPOT_DATA")
    torch.set_num_threads(1)
    data = Path(arguments.data) / "vpt2-tl"
    arguments.out.mkdir(parents=True, exist_ok=True)
    parent = pretrain(data, arguments.out, arguments.pretrain_epochs)
    if arguments.pretrain_only:
        return
    print(f"\n{N_TRAIN} CCSD(T) frames, mean ± standard deviation over {arguments.seeds} seeds")
    print("molecule strategy   step 0 E, F (meV, meV/Å)   E MAE (meV)    F MAE (meV/Å)   time (s)")
    for molecule in arguments.molecules:
        for strategy in ("scratch", "head", "full"):
            runs = [
                transfer(data, arguments.out, parent, molecule, strategy, seed, arguments.epochs)
                for seed in range(arguments.seeds)
            ]
            mean = {k: np.mean([r[k] for r in runs]) for k in runs[0]}
            std = {k: np.std([r[k] for r in runs]) for k in runs[0]}
            print(
                f"{molecule:8} {strategy:8} {mean['E0']:12.2f} {mean['F0']:10.2f}"
                f"   {mean['E']:10.3f} ± {std['E']:.3f} {mean['F']:10.2f} ± {std['F']:.2f}"
                f" {mean['s']:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
