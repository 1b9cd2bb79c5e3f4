"""Whether two versions of tlpot give the same numbers, bit for bit.

    python benchmarks/same_results.py write FOLDER              (with the old version, then the new)
    python benchmarks/same_results.py compare OLD NEW

``write`` runs a fixed list of jobs, by the command line and by the public calculators, and keeps
for each the SHA-256 of what came out: energies and forces, trained weights, tables, trajectories.
Costs, times, names of files and cards are not compared. ``compare`` names each job that differs;
exit status 1. Both must run on one machine, with one thread and the same packages.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(OMP_WAIT_POLICY="PASSIVE", OMP_NUM_THREADS="1")

import ase.io
import h5py
import numpy as np
from ase.build import molecule
from safetensors.numpy import load_file

import tlpot
from tlpot.models import LIBRARY

PEPTIDE = Path(__file__).parent / "fragments" / "ace-ala3-nme.xyz"
DATA = str(LIBRARY / "tlpot-qm.h5")
CC, WB97X = "ccsd(t)/cbs(dt)", "wb97x/6-31g*"
UNCOMPARED = {
    *("seconds", "cost", "wall", "wall_seconds", "time", "times", "date", "file", "files", "path"),
    *("model", "models", "parent", "parents", "tlpot", "versions", "output", "source", "data"),
    *("hash", "identity", "timings", "speed", "split_file", "run"),
}
STRATEGIES = (
    *("scratch", "shift", "head", "freeze", "full", "discriminative", "gradual", "reinit"),
    *("lora", "gain", "l2sp", "ewc", "replay", "multihead", "delta"),
    *("frozen-ridge", "frozen-gp"),
)
CLOSED_FORM = ("shift", "frozen-ridge", "frozen-gp")
SETTINGS = {
    "multihead": [f"strategy.levels=[{WB97X}]"],
    "replay": [f"strategy.files=[{DATA}]"],
    "ewc": [f"strategy.files=[{DATA}]"],
}


def tlpot_command(*arguments: str, folder: Path) -> None:
    """Runs a command in a folder of its own; an error ends the script with its text."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tlpot", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"tlpot {' '.join(arguments)}\n{done.stdout}\n{done.stderr}")


def of_arrays(arrays: dict[str, np.ndarray]) -> str:
    """Returns a hash of names, shapes, dtypes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def of_model(path: Path) -> str:
    """Returns a hash of the weights of a model file, whatever its card says."""
    return of_arrays(load_file(path))


def of_dataset(path: Path) -> str:
    """Returns a hash of all numbers in an HDF5 file except costs."""
    arrays: dict[str, np.ndarray] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and "cost" not in name:
            arrays[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(keep)
    return of_arrays(arrays)


def numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Yields the numbers of a JSON document with their keys, costs and times left out."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in UNCOMPARED:
                yield from numbers(item, f"{key}/{name}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from numbers(item, f"{key}/{position}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield key, float(value)


def of_numbers(path: Path) -> str:
    """Returns a hash of the numbers of a JSON file, sorted: names of keys may change."""
    values = sorted(value for _, value in numbers(json.loads(path.read_text())))
    return of_arrays({"numbers": np.array(values)})


def of_trajectory(path: Path) -> str:
    """Returns a hash of positions and velocities of a trajectory."""
    frames = ase.io.read(path, ":")
    return of_arrays(
        {f"{i}": np.stack([f.positions, f.get_velocities()]) for i, f in enumerate(frames)}
    )


def energies_and_forces() -> Iterator[tuple[str, str]]:
    """Yields hashes of energies and forces of every shipped model by level, dtype and kernels."""
    for name in ("tlpot-tiny", "tlpot-fragments"):
        for dtype in ("float32", "float64"):
            for level in tlpot.load(name).levels:
                arrays = {}
                for formula in ("H2O", "CH3CH2OH", "HCN"):
                    atoms = molecule(formula)
                    atoms.calc = tlpot.TLPotCalculator(name, level=level, dtype=dtype, device="cpu")
                    arrays[f"{formula} energy"] = np.array(atoms.get_potential_energy())
                    arrays[f"{formula} forces"] = atoms.get_forces()
                yield f"{name} {level} {dtype}", of_arrays(arrays)


def fragments() -> Iterator[tuple[str, str]]:
    """Yields hashes of energies and forces of a peptide by every scheme."""
    for scheme in ("direct", "mfcc", "mfcc2", "mfcc_mbe2", "gmfcc", "sphere"):
        atoms = ase.io.read(PEPTIDE)
        atoms.calc = tlpot.FragmentCalculator(
            atoms, high="tlpot-fragments", level="gfn2-xtb", scheme=scheme, device="cpu"
        )
        energy = np.array(atoms.get_potential_energy())
        yield f"fragments {scheme}", of_arrays({"energy": energy, "forces": atoms.get_forces()})


def trainings(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields hashes of the weights of a pretraining and of fine-tunings by every strategy."""
    config = folder / "train.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(
        f"data: {{files: [{DATA}]}}\nlevel: {WB97X}\nmodel: {{preset: tiny}}\n"
        "output: parent.safetensors\ntraining: {epochs: 2, batch_size: 16}\n"
        "split: {by: random, validation: 20, test: 20, train: 100}\n"
    )
    tlpot_command("train", str(config), "--device", "cpu", folder=folder)
    yield "train", of_model(folder / "parent.safetensors")
    for strategy in STRATEGIES:
        output = f"{strategy}.safetensors"
        tlpot_command(
            *("finetune", "tlpot-tiny", DATA, "--level", CC, "--strategy", strategy),
            *("-o", output, "--device", "cpu", "split.by=random", "split.train=20"),
            *("split.validation=20", "split.test=20"),
            *(() if strategy in CLOSED_FORM else ("training.epochs=3",)),
            *SETTINGS.get(strategy, []),
            folder=folder,
        )
        yield f"finetune {strategy}", of_model(folder / output)


def uncertainties(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields hashes of an ensemble, its calibration and a table of errors."""
    for seed in ("1", "2"):
        tlpot_command(
            *("finetune", "tlpot-tiny", DATA, "--level", CC, "-o", f"m{seed}.safetensors"),
            *("--device", "cpu", "split.by=random", "split.train=20", "split.validation=20"),
            *("split.test=20", "training.epochs=2", f"training.seed={seed}"),
            folder=folder,
        )
    split = str(folder / "m1.run" / "split.json")
    tlpot_command(
        *("ensemble", "m1.safetensors", "m2.safetensors", "-o", "e.safetensors"),
        *("--calibrate", DATA, "--level", CC, "--split", split, "--device", "cpu"),
        folder=folder,
    )
    yield "ensemble", of_model(folder / "e.safetensors")
    tlpot_command(
        *("calibrate", "m1.safetensors", DATA, "--level", CC, "--split", split),
        *("-o", "c.safetensors", "--device", "cpu", "--json", "c.json"),
        folder=folder,
    )
    yield "calibrate", of_model(folder / "c.safetensors")
    tlpot_command(
        *("evaluate", "e.safetensors", DATA, "--level", CC, "--json", "evaluate.json"),
        *("--device", "cpu"),
        folder=folder,
    )
    yield "evaluate", of_numbers(folder / "evaluate.json")


def advice(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields hashes of the numbers of a learning curve, a plan and a ranking."""
    tlpot_command(
        *("curve", "tlpot-tiny", DATA, "--level", CC, "--strategies", "full", "scratch"),
        *("--sizes", "10", "20", "40", "--seeds", "2", "--updates", "20", "-o", "curve"),
        *("split.by=random", "split.validation=20", "split.test=40", "--device", "cpu"),
        folder=folder,
    )
    yield "curve", of_numbers(folder / "curve" / "curve.json")
    tlpot_command(
        *("plan", "curve", "--cost-ratio", "1000", "--budget", "1e5", "--json", "plan.json"),
        folder=folder,
    )
    yield "plan", of_numbers(folder / "plan.json")
    tlpot_command(
        *("models", "rank", DATA, "tlpot-tiny", "--level", CC, "--json", "rank.json"),
        folder=folder,
    )
    yield "rank", of_numbers(folder / "rank.json")


def dynamics(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields hashes of trajectories by every integrator, and of one by fragments."""
    cases = {
        "nve": ("CH3CH2OH", "tlpot-tiny", "--ensemble", "nve"),
        "langevin": ("CH3CH2OH", "tlpot-tiny"),
        "fragments": (
            *(str(PEPTIDE), "tlpot-fragments", "--level", "gfn2-xtb", "--scheme", "mfcc"),
        ),
    }
    for name, arguments in cases.items():
        tlpot_command(
            *("md", *arguments, "--steps", "20", "--log-every", "5", "--seed", "3"),
            *("--device", "cpu", "--out", name),
            folder=folder,
        )
        (path,) = (p for p in folder.glob(f"{name}*") if p.suffix in {".xyz", ".extxyz", ".traj"})
        yield f"md {name}", of_trajectory(path)


def samples(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields hashes of sampled geometries, of labels of a model, and of exported fragments."""
    tlpot_command(
        *("sample", "CH3OH", "-o", "s.h5", "--budget", "6", "--calculator", "tlpot-tiny"),
        *("--method", "modes,md", "--interval", "5"),
        folder=folder,
    )
    yield "sample", of_dataset(folder / "s.h5")
    tlpot_command("label", "s.h5", "--engine", "model:tlpot-tiny", "-o", "l.h5", folder=folder)
    yield "label", of_dataset(folder / "l.h5")
    tlpot_command(
        *("fragment", str(PEPTIDE), "--model", "tlpot-fragments", "--level", "gfn2-xtb"),
        *("--json", "f.json", "--device", "cpu"),
        folder=folder,
    )
    yield "fragment", of_numbers(folder / "f.json")


def write(folder: Path) -> None:
    """Runs everything; a job whose hash is kept is not run again."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "hashes.json"
    jobs: list[Callable[[], Iterator[tuple[str, str]]]] = [
        energies_and_forces,
        fragments,
        lambda: trainings(folder / "trainings"),
        lambda: uncertainties(folder / "uncertainties"),
        lambda: advice(folder / "advice"),
        lambda: dynamics(folder / "dynamics"),
        lambda: samples(folder / "samples"),
    ]
    hashes: dict[str, str] = {}
    for job in jobs:
        try:
            for name, digest in job():
                hashes[name] = digest
                print(f"{digest[:16]}  {name}", flush=True)
        except RuntimeError as error:
            print(f"FAILED: {error}", flush=True)
    kept.write_text(json.dumps(hashes, indent=1))


def compare(old: Path, new: Path) -> int:
    """Prints what differs; returns the exit status."""
    before, after = (json.loads((p / "hashes.json").read_text()) for p in (old, new))
    differing = [n for n in sorted(before | after) if before.get(n) != after.get(n)]
    for name in differing:
        print(f"{name}: {before.get(name, 'missing')[:16]} {after.get(name, 'missing')[:16]}")
    print(f"{len(before | after) - len(differing)} of {len(before | after)} jobs are the same")
    return 1 if differing else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("write").add_argument("folder", type=Path)
    both = commands.add_parser("compare")
    both.add_argument("old", type=Path)
    both.add_argument("new", type=Path)
    options = parser.parse_args()
    if options.command == "write":
        write(options.folder.resolve())
        return 0
    return compare(options.old, options.new)


if __name__ == "__main__":
    sys.exit(main())
