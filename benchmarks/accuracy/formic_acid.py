"""Harmonic frequencies of formic acid at CCSD(T) from 100 labels on an MP2 parent (row P8).

    python benchmarks/accuracy/formic_acid.py --data DIR --out OUT [--preset tiny] [--draws 3]
        [--strategies full lora ...] [--epochs 200]

The parent learns 4,900 MP2/aug-cc-pVTZ frames of formic acid with the setting for spectroscopy of
docs/vibrations.md; each strategy then learns 100 CCSD(T)/aug-cc-pVTZ frames, 20 of which decide
which weights are kept. Errors of forces on 1,000 other frames, and of the frequencies against those
that are published for either level, cm⁻¹. The parent has seen MP2 labels of all these geometries
but 501. Everything that is there already is not trained again.

Data, and the level's frequencies: Käser et al., doi:10.1021/acs.jctc.1c00249; DIR holds vpt2-tl/.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ase.build import molecule

import tlpot

MP2, CC = "mp2/aug-cc-pvtz", "ccsd(t)/aug-cc-pvtz"
PUBLISHED = {
    MP2: (625.86, 675.28, 1058.77, 1130.60, 1301.56, 1408.91, 1793.29, 3123.94, 3740.56),
    CC: (626.46, 664.94, 1050.99, 1131.27, 1310.78, 1404.71, 1802.63, 3087.61, 3741.84),
}
SPECTROSCOPY = {"force_delta": 3e-4, "energy_delta": 1e-5, "energy": 1.0, "energy_end": 1.0}
STRATEGIES = ("full", "lora", "head", "delta", "frozen-ridge", "frozen-gp")
CLOSED = ("frozen-ridge", "frozen-gp")


def main() -> None:
    """Parses the command line, trains what is missing and prints a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--parent-epochs", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--draws", type=int, default=3)
    given = parser.parse_args()
    folder = given.data / "vpt2-tl"
    given.out.mkdir(parents=True, exist_ok=True)
    parent = given.out / f"{given.preset}.safetensors"
    if not parent.exists():
        tlpot.train(
            folder / "meuwly_db_HCOOH_MP2.npz", spec="physnet", level=MP2, preset=given.preset,
            output=parent, split={"by": "random", "validation": 100, "test": 401},
            training={
                "epochs": given.parent_epochs, "batch_size": 16, "ema": 0.999,
                "loss": SPECTROSCOPY,
            },
        )  # fmt: skip
    print(f"parent ({given.preset}), MP2: {shown(parent, MP2)}", flush=True)
    for strategy in given.strategies:
        for seed in range(given.draws):
            name = f"{given.preset}-{strategy}-{seed}"
            output = given.out / f"{name}.safetensors"
            if not output.exists():
                training = {
                    "epochs": given.epochs, "batch_size": 5, "ema": 0.99, "validate_every": 5,
                    "loss": SPECTROSCOPY, "seed": seed,
                }  # fmt: skip
                tlpot.finetune(
                    parent, folder / "hcooh_cc_avtz_5401.npz", spec="physnet", level=CC,
                    strategy=strategy, output=output,
                    split={
                        "by": "random", "train": 80, "validation": 20, "test": 1000, "seed": seed,
                    },
                    training={"seed": seed} if strategy in CLOSED else training,
                    report={"enabled": False}, progress=False,
                )  # fmt: skip
            print(f"{name}: {shown(output, CC)}", flush=True)


def shown(model: Path, level: str) -> str:
    """The errors of a model's forces on its test frames, and of its frequencies."""
    errors = tlpot.load(model).card.metrics["test"][level]
    found = tlpot.frequencies(
        molecule("HCOOH"), model, level=level, relax=True, fmax=1e-6, progress=False
    ).wavenumbers
    wrong = found - np.array(PUBLISHED[level])
    words = " ".join(f"{value:+.2f}" for value in wrong)
    return (
        f"E {errors['energy_mae']:.3f} meV, F {errors['forces_mae']:.3f} meV/Å, "
        f"frequencies {words}; "
        f"mean {np.abs(wrong).mean():.2f}, largest {np.abs(wrong).max():.2f} 1/cm"
    )


if __name__ == "__main__":
    main()
