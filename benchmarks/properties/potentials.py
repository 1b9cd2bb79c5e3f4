"""Features of potentials for properties (row Q9): python potentials.py --data DIR --out OUT.

    python potentials.py --data DIR --out OUT --chgnet PYTHON [--structures 1400]

Moduli and heat capacities of binaries from the features of CHGNet (``--chgnet``, the Python of an
environment with chgnet 0.4) and of the shipped models of gaps, by what needs no training of a
network; three seeds, splits by formula. DIR (or TLPOT_DATA) holds ``properties/``, see gaps.py.
What is in OUT is not repeated.
"""

import argparse
import json
import lzma
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import ase.io
import numpy as np
from ase import Atoms

import tlpot

HERE = Path(__file__).parent
TASKS = {
    "bulk": ("elastic", "bulk_modulus", "bulk_modulus@pbe", "GPa"),
    "shear": ("elastic", "shear_modulus", "shear_modulus@pbe", "GPa"),
    "heat": ("heat_capacity", "heat_capacity_per_atom", "heat_capacity@pbe", "J/mol/K"),
}
STRATEGIES = ("shift", "frozen-ridge", "frozen-forest")
LARGEST = 40
"""Atoms; larger cells take CHGNet seconds."""


def section(name: str, folder: Path, out: Path, n_structures: int) -> dict[str, object]:
    """Writes some of the structures and their description, once."""
    file, key, level, unit = TASKS[name]
    path, spec = out / f"{name}.xyz", out / f"{name}.yaml"
    if not path.exists():
        with lzma.open(folder / f"{file}.extxyz.xz", "rt") as lines:
            frames = [a for a in ase.io.read(lines, ":", format="extxyz") if len(a) <= LARGEST]
        chosen = np.random.default_rng(0).permutation(len(frames))[:n_structures]
        kept = []
        for k in sorted(chosen):
            a = frames[k]
            kept.append(Atoms(a.numbers, a.positions, cell=a.cell, pbc=True))
            kept[-1].info = {"value": float(a.info[key])}
        ase.io.write(path, kept, format="extxyz")
    spec.write_text(
        json.dumps(
            {
                "container": "extxyz",
                "units": {"coordinates": "angstrom"},
                "levels": {level: {"value": "value", "unit": unit, "extensive": False}},
            }
        )
    )
    return {"files": [str(path)], "spec": str(spec)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=[*TASKS])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--chgnet", help="Python of an environment with chgnet")
    parser.add_argument("--structures", type=int, default=1400)
    given = parser.parse_args()
    if given.data is None:
        parser.error("--data, or TLPOT_DATA, is needed")
    given.out.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(HERE), os.environ.get("PYTHONPATH")])
    )
    engine = f"env:{given.chgnet} ase:chgnet_features:CHGNetFeatures"
    parents = ["tlpot-gap-pbe", *([engine] if given.chgnet else [])]
    for name in given.tasks:
        data = section(name, Path(given.data) / "properties", given.out, given.structures)
        sizes = [50, 124, 400] if name == "heat" else [50, 200, 1000]
        for k, parent in enumerate(parents):
            found = tlpot.learning_curve(
                parent,
                config={
                    "data": data,
                    "split": {"by": "formula", "validation": 0.05, "test": 0.2, "seed": 1},
                },
                level=TASKS[name][2], strategies=list(STRATEGIES), sizes=sizes, seeds=3,
                output=given.out / f"{name}-{('gaps', 'chgnet')[k]}.curve",
            )  # fmt: skip
            print(f"\n{name} from {parent}\n{found}", flush=True)


if __name__ == "__main__":
    main()
