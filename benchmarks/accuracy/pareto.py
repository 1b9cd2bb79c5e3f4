"""Which network is worth its time: python benchmarks/accuracy/pareto.py --data DIR.

Networks of different degree, body order, feature degree and width learn acetylacetone (450
frames, 50 for validation, PBE-D3) for the same wall time each; the table gives their errors on
the 650 test frames at 300 K and what a step of dynamics costs. DIR holds acac/, which is public:
https://github.com/davkovacs/BOTNet-datasets.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from ase.io import read
from budget import epochs_within, errors, step_time, train_within

from tlpot.models import load

LEVEL = "pbe-d3/def2-svp"


def network(channels: int, l_hidden: int, l_max: int, correlation: int, **more) -> dict:
    parts = [f"{channels}x{l}{'eo'[l % 2]}" for l in range(l_hidden + 1)]
    return {
        "preset": "tiny", "hidden_irreps": "+".join(parts), "l_max": l_max,
        "correlation": correlation, **more,
    }  # fmt: skip


NETWORKS = {
    "l2-v3-L1-c40": network(40, 1, 2, 3),
    "l3-v3-L1-c32": network(32, 1, 3, 3),
    "l2-v2-L1-c48": network(48, 1, 2, 2),
    "l2-v3-L0-c64": network(64, 0, 2, 3),
    "l3-v3-L0-c56": network(56, 0, 3, 3),
    "l3-v2-L1-c32": network(32, 1, 3, 2),
    "l2-v3-L1-c64": network(64, 1, 2, 3),
    "l3-v3-L1-c64": network(64, 1, 3, 3),
    "l2-v3-L1-c24": network(24, 1, 2, 3),
    "l3-v3-L2-c32": network(32, 2, 3, 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("TLPOT_DATA"), required=False)
    parser.add_argument("--out", type=Path, default=Path("runs/pareto"))
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--pilot", action="store_true", help="only measure the epochs (first!)")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(options.data) / "acac"
    for name in options.only:
        settings = {
            "data": {"files": [str(data / "train_300K.xyz")], "level": LEVEL},
            "split": {"by": "random", "validation": 50},
            "training": {"batch_size": 5},
            "model": {"radial_hidden": [16], **NETWORKS[name]},
        }
        output = options.out / f"{name}.safetensors"
        if options.pilot:
            print(name, epochs_within(settings, output, options.seconds), "epochs", flush=True)
            continue
        result = train_within(settings, output, options.seconds)
        test = data / "test_MD_300K.xyz"
        result |= errors(output, [test], LEVEL)
        result["ms"] = step_time(output, read(test, "0"))
        result["weights"] = sum(w.numel() for w in load(output).parameters())
        output.with_suffix(".json").write_text(json.dumps(result))
    print(f"{'network':16}{'weights':>9}{'epochs':>8}{'s':>7}{'E RMSE':>9}{'F RMSE':>9}{'ms':>7}")
    for name in NETWORKS:
        path = options.out / f"{name}.json"
        if path.exists():
            r = json.loads(path.read_text())
            print(
                f"{name:16}{r['weights']:>9,}{r['epochs']:>8}{r['seconds']:>7.0f}"
                f"{r['energy_rmse']:>9.2f}{r['forces_rmse']:>9.2f}{r['ms']:>7.2f}"
            )


if __name__ == "__main__":
    main()
