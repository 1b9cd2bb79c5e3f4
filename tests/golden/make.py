"""Files of an earlier tlpot, which later ones must open: python tests/golden/make.py FOLDER.

The files beside it were made on 2026-11-29 with tlpot 0.1.0 of the commit before the rooms of the
package were moved, torch 2.13.0, e3nn 0.6.0, tblite 0.7.0, on x86-64 (AVX-512), by the commands
below. They are tiny networks trained for a few epochs: good for nothing but being opened.
`expected.json` holds what that tlpot said of them.

`earlier-fragments.h5` is not made here, because only a tlpot of that day writes its layout:
fragments by mfcc of the peptides DA and GG, three frames each, with labels of a toy at two levels,
a split by source and the whole peptides; `earlier-fragments.json` holds what that tlpot read.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

os.environ.update(OMP_WAIT_POLICY="PASSIVE", OMP_NUM_THREADS="1")

import h5py
import numpy as np
import yaml
from ase.build import molecule

import tlpot
from tlpot.models import LIBRARY

CC, WB97X = "ccsd(t)/cbs(dt)", "wb97x/6-31g*"
NETWORK = {"preset": "tiny", "n_layers": 1, "hidden_irreps": "8x0e", "l_max": 1}
PEPTIDE = Path(__file__).parents[2] / "benchmarks" / "fragments" / "ace-ala3-nme.xyz"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tlpot", *arguments]


def run(*arguments: str) -> None:
    subprocess.run(command(*arguments), check=True, stdout=subprocess.DEVNULL)


def config(name: str, content: dict) -> str:
    Path(name).write_text(yaml.safe_dump(content))
    return name


def labels() -> None:
    """Some frames of some molecules that ship with tlpot."""
    with h5py.File(LIBRARY / "tlpot-qm.h5") as source, h5py.File("labels.h5", "w") as target:
        target.attrs.update(source.attrs)
        for name in list(source)[:6]:
            group = source[name]
            frames = len(group["coordinates"])
            copy = target.create_group(name)
            copy.attrs.update(group.attrs)
            for key, item in group.items():
                rows = item[:10] if item.shape[:1] == (frames,) and frames > 1 else item[()]
                copy.create_dataset(key, data=rows).attrs.update(item.attrs)


def models() -> None:
    split = {"by": "random", "validation": 12, "test": 4}
    training = {"epochs": 2, "batch_size": 8}
    train = {
        "data": {"files": ["labels.h5"]}, "level": WB97X, "model": NETWORK, "split": split,
        "training": training, "output": "potential.safetensors",
    }  # fmt: skip
    run("train", config("train.yaml", train), "--device", "cpu")
    settings = ["split.by=random", "split.validation=12", "split.test=4", "training.seed=1"]
    epochs = ["training.epochs=2"]
    for strategy, extra in {
        "multihead": [f"strategy.levels=[{WB97X}]", *epochs],
        "delta": epochs,
        "frozen-gp": [],
        "frozen-ridge": [],
        "frozen-forest": [],
    }.items():
        run(
            *("finetune", "potential.safetensors", "labels.h5", "--level", CC, "--device", "cpu"),
            *("--strategy", strategy, "-o", f"{strategy}.safetensors", *settings, *extra),
        )
    for seed in ("1", "2"):
        run(
            *("finetune", "potential.safetensors", "labels.h5", "--level", CC, "--device", "cpu"),
            *("-o", f"member{seed}.safetensors", *settings[:-1], *epochs, f"training.seed={seed}"),
        )
    run(
        *("ensemble", "member1.safetensors", "member2.safetensors", "-o", "ensemble.safetensors"),
        *("--calibrate", "labels.h5", "--level", CC, "--device", "cpu"),
        *("--split", "member1.run/split.json"),
    )
    run(
        *("calibrate", "member1.safetensors", "labels.h5", "--level", CC),
        *("-o", "last-layer.safetensors", "--device", "cpu", "--split", "member1.run/split.json"),
    )


def interrupted_training() -> None:
    """A training that was interrupted, and the weights that it would have ended with."""
    long = yaml.safe_load(Path("train.yaml").read_text())
    long["training"] = {"epochs": 40, "batch_size": 8}
    Path("interrupted").mkdir()
    shutil.copy("labels.h5", "interrupted")
    config("interrupted/train.yaml", long)
    shutil.copytree("interrupted", "whole")
    subprocess.run(
        command("train", "train.yaml", "--device", "cpu"), cwd="whole", check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    process = subprocess.Popen(
        command("train", "train.yaml", "--device", "cpu"), cwd="interrupted",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    metrics = Path("interrupted/potential.run/metrics.jsonl")
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.wait()


def fragments_and_builds() -> None:
    run("fragment", str(PEPTIDE), "--scheme", "mfcc", "--export", "fragments.h5")
    run("label", "fragments.h5", "--engine", "gfn2-xtb", "-o", "fragment-labels.h5")
    build = {
        "output": "build", "sequence": "G", "scheme": "mfcc",
        "low": {"engine": "gfn1-xtb", "budget": 22}, "high": {"engine": "gfn2-xtb", "budget": 20},
        "sample": {"methods": ["scan"], "pool": 1.5},
        "pretrain": {"model": NETWORK, "training": {"epochs": 2, "batch_size": 8}},
        "finetune": {
            "strategy": "multihead", "split": {"validation": 10, "test": 3},
            "training": {"epochs": 2, "batch_size": 8},
        },
        "assemble": {"steps": 2, "interval": 1, "reference": "high", "frames": 1},
    }  # fmt: skip
    run("build", config("build.yaml", build), "--device", "cpu")


def curves_and_dynamics() -> None:
    run(
        *("curve", "potential.safetensors", "labels.h5", "--level", CC, "--strategies", "full"),
        *("--sizes", "8", "16", "--seeds", "1", "--updates", "5", "-o", "curve"),
        *("split.by=random", "split.validation=12", "split.test=4", "--device", "cpu"),
    )
    common = ("md", "CH3OH", "potential.safetensors", "--ensemble", "langevin", "--seed", "3")
    common += ("--log-every", "5", "--device", "cpu")
    run(*common, "--steps", "20", "--out", "whole-md")
    run(*common, "--steps", "10", "--out", "md")


def expected() -> None:
    """What this tlpot says of the models, for a later one to say the same."""
    found: dict = {"energies": {}, "frames": {}}
    for path in sorted(Path().glob("*.safetensors")):
        for level in tlpot.load(path).levels:
            atoms = molecule("CH3OH")
            atoms.calc = tlpot.TLPotCalculator(path, level=level, device="cpu", dtype="float64")
            entry = {"energy": atoms.get_potential_energy()}
            if "forest" not in path.name:
                entry["forces"] = float(np.abs(atoms.get_forces()).max())
            if "energy_std" in atoms.calc.results:
                entry["energy_std"] = float(atoms.calc.results["energy_std"])
            found["energies"][f"{path.name} {level}"] = entry
    for name in ("labels.h5", "fragments.h5", "fragment-labels.h5"):
        dataset = tlpot.open_dataset(name)
        found["frames"][name] = {"frames": len(dataset), "levels": sorted(dataset.levels)}
    whole = tlpot.TLPotCalculator("whole/potential.safetensors", device="cpu", dtype="float64")
    atoms = molecule("CH3OH")
    atoms.calc = whole
    found["resumed"] = {
        "energy": atoms.get_potential_energy(), "forces": float(np.abs(atoms.get_forces()).max())
    }  # fmt: skip
    Path("expected.json").write_text(json.dumps(found, indent=1))


def prune() -> None:
    """Takes away what no later version has to open."""
    shutil.rmtree("whole")
    for folder in Path().glob("*.run"):
        shutil.rmtree(folder)
    for picture in [*Path().rglob("*.png"), *Path().glob("member?.safetensors")]:
        picture.unlink()


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    for make in (
        labels, models, interrupted_training, fragments_and_builds, curves_and_dynamics, expected,
        prune,
    ):  # fmt: skip
        make()
        print(make.__name__, flush=True)


if __name__ == "__main__":
    main()
