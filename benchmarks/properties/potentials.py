"""Features of potentials for properties (row Q9): python potentials.py --data DIR --out OUT.

    python potentials.py --data DIR --out OUT [--chgnet PYTHON [--own]] [--sevennet PYTHON]

Gaps, moduli and heat capacities of crystals from the features of CHGNet and of SevenNet-0 (the
Pythons of environments with chgnet 0.4 and sevenn 0.13), of a potential that learns CHGNet's
energies and forces first (``--own``), and of the shipped model of gaps, by what needs no training
of a network; three seeds, splits by formula. DIR (or TLPOT_DATA) holds ``properties/``, see
gaps.py. The potential learns other crystals than those of a target's test, but for those that are
in both files. What is in OUT is not repeated.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import ase.io
import numpy as np
from ase import Atoms

import tlpot
from tlpot.data import frames_of

HERE = Path(__file__).parent
TASKS = {
    "gap-pbe": ("gaps", "gap_pbe", "gap@pbe", "eV"),
    "gap": ("gaps", "gap_hse06", "gap@hse06", "eV"),
    "bulk": ("elastic", "bulk_modulus", "bulk_modulus@pbe", "GPa"),
    "shear": ("elastic", "shear_modulus", "shear_modulus@pbe", "GPa"),
    "heat": ("heat_capacity", "heat_capacity_per_atom", "heat_capacity@pbe", "J/mol/K"),
}
STRATEGIES = ("shift", "frozen-ridge", "frozen-forest")
LARGEST = 40
"""Atoms; larger cells take CHGNet seconds."""
OWN_LARGEST = 16
"""Atoms, of the potential's own training."""


def section(name: str, folder: Path, out: Path, n_structures: int) -> dict[str, object]:
    """Writes some of the structures and their description, once."""
    file, key, level, unit = TASKS[name]
    path, spec = out / f"{name}.xyz", out / f"{name}.yaml"
    if not path.exists():
        dataset = tlpot.open_dataset(
            folder / f"{file}.extxyz.xz", keys={level: f"{key}, {unit}, intensive"}
        )
        small = np.flatnonzero(dataset.labelled(level) & (dataset.sizes <= LARGEST))
        chosen = np.random.default_rng(0).permutation(small)[:n_structures]
        kept = []
        for frame in frames_of(dataset, np.sort(chosen), levels=[level]):
            kept.append(frame.system.to_atoms())
            kept[-1].info = {"value": frame.labels[level].energy}
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


def strained(folder: Path, n_structures: int) -> list[Atoms]:
    """Crystals of the file of gaps, each strained by 3 % and displaced by 0.08 Å at random."""
    dataset = tlpot.open_dataset(
        folder / "gaps.extxyz.xz", keys={"gap@pbe": "gap_pbe, eV, intensive"}
    )
    small = np.flatnonzero((dataset.sizes > 1) & (dataset.sizes <= OWN_LARGEST))
    rng, found = np.random.default_rng(1), []
    for frame in frames_of(dataset, rng.permutation(small)[:n_structures], levels=["gap@pbe"]):
        atoms = frame.system.to_atoms()
        strain = rng.normal(0.0, 0.03, (3, 3))
        atoms.set_cell(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += rng.normal(0.0, 0.08, (len(atoms), 3))
        found.append(atoms)
    return found


def own_potential(folder: Path, out: Path, chgnet: str, n_structures: int, epochs: int) -> Path:
    """Trains a potential on CHGNet's energies and forces, once."""
    file, target = out / "chgnet.h5", out / "own.safetensors"
    if not (target.with_suffix(".run") / "report.json").exists():
        engine = f"env:{chgnet} ase:chgnet.model.dynamics:CHGNetCalculator(use_device='cpu')"
        print(tlpot.label(strained(folder, n_structures), engine, file, level="chgnet"), flush=True)
        found = tlpot.train(
            file,
            config={
                "model": {"preset": "crystal", "species": "elemental", "elements": "all"},
                "split": {"by": "formula", "validation": 0.1, "test": 0.1, "seed": 0},
                "training": {"batch_size": 16, "validate_every": 2},
            },
            level="chgnet", epochs=epochs, output=target, name="own", overwrite=True,
        )  # fmt: skip
        print(found, flush=True)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=["gap", "bulk", "shear", "heat"])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--chgnet", help="Python of an environment with chgnet")
    parser.add_argument("--sevennet", help="Python of an environment with sevenn")
    parser.add_argument("--own", action="store_true", help="a potential on CHGNet's labels")
    parser.add_argument("--structures", type=int, default=1400)
    parser.add_argument("--own-structures", type=int, default=2000)
    parser.add_argument("--own-epochs", type=int, default=20)
    given = parser.parse_args()
    if given.data is None:
        parser.error("--data, or TLPOT_DATA, is needed")
    given.out.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(HERE), os.environ.get("PYTHONPATH")])
    )
    if given.own and not given.chgnet:
        parser.error("--own needs --chgnet, which labels its structures")
    folder = Path(given.data) / "properties"
    parents = {"gaps": "tlpot-gap-pbe"}
    if given.chgnet:
        parents["chgnet"] = f"env:{given.chgnet} ase:chgnet_features:CHGNetFeatures"
    if given.sevennet:
        parents["sevennet"] = f"env:{given.sevennet} ase:sevennet_features:SevenNetFeatures"
    if given.own:
        parents["own"] = str(
            own_potential(folder, given.out, given.chgnet, given.own_structures, given.own_epochs)
        )
    for name in given.tasks:
        data = section(name, folder, given.out, given.structures)
        sizes = [50, 124, 400] if name == "heat" else [50, 200, 1000]
        for called, parent in parents.items():
            found = tlpot.learning_curve(
                parent,
                config={
                    "data": data,
                    "split": {"by": "formula", "validation": 0.05, "test": 0.2, "seed": 1},
                },
                level=TASKS[name][2], strategies=list(STRATEGIES), sizes=sizes, seeds=3,
                output=given.out / f"{name}-{called}.curve",
            )  # fmt: skip
            print(f"\n{name} from {parent}\n{found}", flush=True)


if __name__ == "__main__":
    main()
