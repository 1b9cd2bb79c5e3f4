"""All strategies on one split and the same seeds: python benchmarks/transfer/tasks.py TASK.

T1  MP2 to CCSD(T), energies and forces of H2CO (vpt2-tl); the parent has learned MP2 labels of
    3200 geometries, among them those that are tested
T2  ωB97X to composite CCSD(T), energies only, molecules without any coupled-cluster label in
    training (the shipped tlpot-qm and tlpot-tiny; the parent has seen cheap labels of them)

Prints errors of every strategy and number of labels, mean ± standard deviation over the seeds,
and what the pretraining is worth. Everything resumes. DIR holds vpt2-tl/ (Käser et al.,
doi:10.1021/acs.jctc.1c00249; https://github.com/dralgroup/ani1ccxgelu); T2 needs none.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from tlpot.models import LIBRARY
from tlpot.pipeline import curve_config, run_curve, train_config, train_from_scratch
from tlpot.pipeline.curve_picture import plot_curve
from tlpot.pipeline.curve_report import analyse
from tlpot.transfer import STRATEGY_NAMES

MP2, CC, CBS = "mp2/aug-cc-pvtz", "ccsd(t)/aug-cc-pvtz", "ccsd(t)/cbs(dt)"


def formaldehyde(options: argparse.Namespace) -> dict:
    """T1; trains the parent where it is missing."""
    data = options.data / "vpt2-tl"
    parent = options.parent or options.out / "T1-parent.safetensors"
    if not parent.exists():
        settings = {
            "data": {
                "files": [str(data / "ch2o_mp2_avtz_3601.npz")], "spec": "physnet", "level": MP2,
            },
            "output": str(parent),
            "split": {"by": "random", "validation": 50, "test": 351},
            "training": {"epochs": 300, "batch_size": 16},
        }  # fmt: skip
        resume = (parent.with_suffix(".run") / "checkpoint.safetensors").exists()
        print(train_from_scratch(train_config(settings), resume=resume).end.text(), flush=True)
    return {
        "parents": [str(parent)],
        "data": {
            "files": [str(data / "ch2o_cc_avtz_3601.npz")], "spec": "physnet", "level": CC,
        },
        "level": CC,
        "sizes": options.sizes or [10, 30, 100, 300],
        "split": {"by": "random", "validation": 20, "test": 500},
        "training": {"batch_size": 5},
    }  # fmt: skip


def small_molecules(options: argparse.Namespace) -> dict:
    """T2."""
    return {
        "parents": ["tlpot-tiny"],
        "data": {"files": [str(LIBRARY / "tlpot-qm.h5")]},
        "level": CBS,
        "sizes": options.sizes or [25, 50, 100, 200],
        "split": {
            "by": "random",
            "validation": 40,
            "test": ["aziridine", "dimethylamine", "ethanol", "formic_acid", "methanol"],
        },
        "training": {"batch_size": 5},
    }


TASKS = {"T1": formaldehyde, "T2": small_molecules}
UNSUITED = {"T1": ("multihead",), "T2": ()}
"""The coupled-cluster file of T1 has one level only."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--parent", type=Path, help="a parent that was trained before")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGY_NAMES)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=1000)
    options = parser.parse_args()
    if options.task == "T1" and options.data is None:
        raise SystemExit("name the data with --data")
    options.data = options.data and Path(options.data)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = TASKS[options.task](options)
    suited = [name for name in STRATEGY_NAMES if name not in UNSUITED[options.task]]
    curve = run_curve(
        curve_config(
            {
                **settings,
                "strategies": options.strategies or suited,
                "seeds": options.seeds,
                "updates": options.updates,
                "output": str(options.out / options.task),
            }
        )
    )
    shown = [q for q in ("energy_mae", "forces_mae") if q in curve.quantities()]
    reports = {quantity: analyse(curve, quantity) for quantity in shown}
    plot_curve(reports, options.out / f"{options.task}.png")
    print("\n\n".join(report.text() for report in reports.values()))
    for failure in curve.failures:
        print(f"failed: {failure.label}, {failure.size}, seed {failure.seed}: {failure.error}")


if __name__ == "__main__":
    main()
