"""Accuracy against the targets: python benchmarks/accuracy/rows.py A1 --preset tiny --data DIR.

A1  acetylacetone, 450 + 50 frames of PBE-D3 at 300 K; RMSE on the 650 test frames at 300 K
A2  3BPA, 500 frames of ωB97X at 300 K in ten folds; RMSE on the fold that was held out
A3  formaldehyde, MP2, 3200 frames; MAE on 351 others, and harmonic frequencies against those of
    the level itself (h2co_mp2_frequencies.json, made by h2co_frequencies.py)

DIR holds acac/ and 3bpa/ (https://github.com/davkovacs/BOTNet-datasets) and vpt2-tl/ (Käser et
al., doi:10.1021/acs.jctc.1c00249; https://github.com/dralgroup/ani1ccxgelu). A training takes
--seconds on one core as measured at its start, so start on a quiet machine. Everything resumes:
call again what was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from ase import Atoms
from budget import epochs_within, errors, train_within

from tlpot.api import frequencies
from tlpot.data import make_split, open_dataset

PBE, WB97X, MP2 = "pbe-d3/def2-svp", "wb97x/6-31g(d)", "mp2/aug-cc-pvtz"
FOLDS = 10


def acac(options: argparse.Namespace) -> None:
    data = options.data / "acac"
    settings = {
        "data": {"files": [str(data / "train_300K.xyz")], "level": PBE},
        "split": {"by": "random", "validation": 50},
    }
    output = options.out / f"A1-{options.preset}.safetensors"
    took = run(options, settings, output)
    if took:
        report("A1", options.preset, took | errors(output, [data / "test_MD_300K.xyz"], PBE))


def fold(options: argparse.Namespace, k: int) -> Path:
    """Writes a split: a tenth of the frames for the test, a twentieth for validation."""
    path = options.out / f"A2-fold{k}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset = open_dataset([options.data / "3bpa" / "train_300K.xyz"], level=WB97X)
        frames = np.arange(len(dataset))
        order = np.random.default_rng(0).permutation(frames)
        test = np.array_split(order, FOLDS)[k]
        rest = np.setdiff1d(order, test, assume_unique=True)
        validation = rest[:25]
        made = make_split(dataset, by="random", validation=0.0, test=0.0)
        parts = {"test": test, "validation": validation, "train": np.setdiff1d(rest, validation)}
        content = {"by": "random", "seed": 0, "content_hash": made.content_hash}
        content |= {name: sorted(map(int, part)) for name, part in parts.items()}
        path.write_text(json.dumps(content))
    return path


def threebpa(options: argparse.Namespace) -> None:
    file = options.data / "3bpa" / "train_300K.xyz"
    found = []
    for k in options.folds:
        split = fold(options, k)
        settings = {
            "data": {"files": [str(file)], "level": WB97X},
            "split": {"file": str(split)},
        }
        output = options.out / f"A2-{options.preset}-fold{k}.safetensors"
        took = run(options, settings, output)
        if took:
            test = json.loads(split.read_text())["test"]
            found.append(took | errors(output, [file], WB97X, test))
            report(f"A2, fold {k}", options.preset, found[-1])
    if len(found) > 1:
        for kind, unit in (("energy", "meV"), ("forces", "meV/Å")):
            values = np.array([row[f"{kind}_rmse"] for row in found])
            print(f"A2 {options.preset}, {len(found)} folds: {kind} RMSE", end=" ")
            print(f"{values.mean():.2f} ± {values.std(ddof=1):.2f} {unit}")


def formaldehyde(options: argparse.Namespace) -> None:
    file = options.data / "vpt2-tl" / "ch2o_mp2_avtz_3601.npz"
    settings = {
        "data": {"files": [str(file)], "spec": "physnet", "level": MP2},
        "split": {"by": "random", "validation": 50, "test": 351, "train": 3200},
        "training": {"batch_size": 16},
    }
    output = options.out / f"A3-{options.preset}.safetensors"
    took = run(options, settings, output)
    if not took:
        return
    test = json.loads((output.with_suffix(".run") / "split.json").read_text())["test"]
    report("A3", options.preset, took | errors(output, [file], MP2, test, spec="physnet"))
    level = json.loads(Path(__file__).with_name("h2co_mp2_frequencies.json").read_text())
    atoms = Atoms(level["symbols"], level["positions_angstrom"])
    found = frequencies(atoms, output, relax=True, fmax=1e-6).wavenumbers
    expected = np.array(level["frequencies_per_cm"])
    print("frequencies in 1/cm: tlpot, MP2 itself, difference")
    for a, b in zip(found, expected, strict=True):
        print(f"  {a:9.2f}{b:10.2f}{a - b:8.2f}")
    print(f"  largest difference {np.abs(found - expected).max():.2f}")


def run(options: argparse.Namespace, settings: dict, output: Path) -> dict | None:
    settings.setdefault("training", {}).setdefault("batch_size", 5)
    settings["model"] = {"preset": options.preset}
    settings["training"] |= {"learning_rate": options.learning_rate, "ema": options.ema}
    settings["training"]["loss"] = {
        "energy": options.energy_weight,
        "energy_end": options.energy_end,
    }
    if options.epochs:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_suffix(".epochs").write_text(str(options.epochs))
    if options.pilot:
        print(output.name, epochs_within(settings, output, options.seconds), "epochs")
        return None
    return train_within(settings, output, options.seconds)


def report(row: str, preset: str, r: dict) -> None:
    print(
        f"{row} {preset}: {r['frames']} frames, E {r['energy_rmse']:.2f} meV RMSE, "
        f"{r['energy_mae']:.3f} MAE; F {r['forces_rmse']:.2f} meV/Å RMSE, "
        f"{r['forces_mae']:.3f} MAE; mean error of E {r['energy_mean']:.2f} meV; "
        f"{r['epochs']} epochs in {r['seconds']:.0f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("row", choices=["A1", "A2", "A3"])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--seconds", type=float, default=3000)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--energy-weight", type=float, default=1.0)
    parser.add_argument("--energy-end", type=float, help="loss.energy_end")
    parser.add_argument("--epochs", type=int, help="instead of --seconds")
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(FOLDS)))
    parser.add_argument("--pilot", action="store_true", help="only measure the epochs")
    options = parser.parse_args()
    if options.data is None:
        raise SystemExit("name the data with --data")
    options.data = Path(options.data)
    torch.set_num_threads(1)
    {"A1": acac, "A2": threebpa, "A3": formaldehyde}[options.row](options)


if __name__ == "__main__":
    main()
