"""What transfers to what, and whether the rank by folds tells: row Q6.

    python matrix.py --data DIR --out OUT --chgnet PYTHON [--structures 1400]

Five properties of crystals, each learned by a model: PBE gaps, bulk and shear moduli and heat
capacities (the shipped models), and formation energies of CHGNet 0.3.0 (its energies per atom of
3,000 structures less what their composition explains; ``--chgnet`` is the Python of an
environment with chgnet 0.4). From the features of each to every other property with 50 and 200
labels by what needs no training of a network; three seeds, splits by formula; and the order of
the parents by five folds of as many labels (`tlpot models rank`) beside that on the test
structures. A parent may know structures of a test by its own property, as in a library it would.
DIR (or TLPOT_DATA) holds ``properties/``, see gaps.py. What is in OUT is not repeated.
"""

import argparse
import json
import os
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import ase.io
import numpy as np
from potentials import TASKS, section
from scipy.stats import gmean, spearmanr

import tlpot
from tlpot.data import frames_of

PARENTS = {
    "gap-pbe": "tlpot-gap-pbe",
    "bulk": "tlpot-bulk-modulus",
    "shear": "tlpot-shear-modulus",
    "heat": "tlpot-heat-capacity",
}
FORMATION = "formation_energy@chgnet"
SIZES = (50, 200)
STRATEGY = "frozen-forest"
LARGEST = 20
"""Atoms, of the structures that CHGNet labels."""


def formation(folder: Path, out: Path, chgnet: str, n_structures: int) -> dict[str, object]:
    """Writes CHGNet's energies per atom, less a linear function of the composition, once."""
    file, spec = out / "formation.xyz", out / "formation.yaml"
    if not file.exists():
        dataset = tlpot.open_dataset(
            folder / "gaps.extxyz.xz", keys={"gap@pbe": "gap_pbe, eV, intensive"}
        )
        small = np.flatnonzero(dataset.sizes <= LARGEST)
        chosen = np.random.default_rng(2).permutation(small)[:n_structures]
        crystals = [f.system.to_atoms() for f in frames_of(dataset, chosen, levels=["gap@pbe"])]
        engine = f"env:{chgnet} ase:chgnet.model.dynamics:CHGNetCalculator(use_device='cpu')"
        done = tlpot.label(crystals, engine, out / "formation.h5", level="chgnet", forces="no")
        print(done, flush=True)
        labelled = list(tlpot.open_dataset(out / "formation.h5"))
        numbers = [frame.system.atomic_numbers for frame in labelled]
        elements = np.unique(np.concatenate(numbers))
        shares = np.array([[(z == e).mean() for e in elements] for z in numbers])
        energies = np.array(
            [frame.labels["chgnet"].energy / len(frame.system) for frame in labelled]
        )
        left = energies - shares @ np.linalg.lstsq(shares, energies, rcond=None)[0]
        kept = []
        for frame, value in zip(labelled, left, strict=True):
            kept.append(frame.system.to_atoms())
            kept[-1].info = {"value": float(value)}
        ase.io.write(file, kept, format="extxyz")
    spec.write_text(
        json.dumps(
            {
                "container": "extxyz",
                "units": {"coordinates": "angstrom"},
                "levels": {FORMATION: {"value": "value", "unit": "eV/atom", "extensive": False}},
            }
        )
    )
    return {"files": [str(file)], "spec": str(spec)}


def formation_model(data: dict[str, object], out: Path) -> Path:
    """Trains the parent of formation energies, once."""
    target = out / "formation.safetensors"
    if not (target.with_suffix(".run") / "report.json").exists():
        found = tlpot.train(
            config={
                "data": data,
                "model": {"preset": "crystal", "species": "elemental", "elements": "all"},
                "split": {"by": "formula", "validation": 0.1, "test": 0.1, "seed": 0},
                "training": {"batch_size": 32, "validate_every": 2},
            },
            level=FORMATION, epochs=20, output=target, name="formation-chgnet", overwrite=True,
        )  # fmt: skip
        print(found, flush=True)
    return target


def ranked(
    parents: dict[str, str], data: dict[str, object], level: str, n: int, seed: int, out: Path
) -> dict[str, float]:
    """Returns the error of each parent by five folds of some labels."""
    dataset = tlpot.open_dataset(data["files"], data["spec"])
    chosen = np.random.default_rng([seed, n]).permutation(len(dataset))[:n]
    few, kept = out / f"few-{n}-{seed}.xyz", []
    for frame in frames_of(dataset, np.sort(chosen), levels=[level]):
        kept.append(frame.system.to_atoms())
        kept[-1].info = {"value": frame.labels[level].energy}
    ase.io.write(few, kept, format="extxyz")
    found = tlpot.rank(
        few, list(parents.values()), level=level, spec=data["spec"], by="random", folds=5,
        seed=seed,
    )  # fmt: skip
    errors: dict[str, float] = {}
    for score in found.scores:
        for name, parent in parents.items():
            if score.model == parent and "random" in score.errors:
                error = score.errors["random"].mae
                errors[name] = min(error, errors.get(name, np.inf))
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--chgnet", required=True, help="Python of an environment with chgnet")
    parser.add_argument("--structures", type=int, default=1400)
    parser.add_argument("--labelled", type=int, default=3000, help="structures for CHGNet")
    given = parser.parse_args()
    if given.data is None:
        parser.error("--data, or TLPOT_DATA, is needed")
    given.out.mkdir(parents=True, exist_ok=True)
    folder = Path(given.data) / "properties"
    data = {name: section(name, folder, given.out, given.structures) for name in PARENTS}
    levels = {name: TASKS[name][2] for name in PARENTS}
    data["formation"] = formation(folder, given.out, given.chgnet, given.labelled)
    levels["formation"] = FORMATION
    parents = PARENTS | {"formation": str(formation_model(data["formation"], given.out))}
    table: dict[tuple[str, str, int], str] = {}
    order: dict[tuple[str, int], list[float]] = defaultdict(list)
    for target, source in data.items():
        others = {name: parent for name, parent in parents.items() if name != target}
        errors: dict[tuple[str, int, int], float] = {}
        without: dict[int, list[float]] = defaultdict(list)
        for name, parent in others.items():
            found = tlpot.learning_curve(
                parent,
                config={
                    "data": source,
                    "split": {"by": "formula", "validation": 0.05, "test": 0.2, "seed": 1},
                },
                level=levels[target], strategies=[STRATEGY], sizes=list(SIZES), seeds=3,
                output=given.out / f"{target}-from-{name}.curve",
            )  # fmt: skip
            for point in found.curve.series[0].points:
                errors[name, point.size, point.seed] = point.end["property_mae"]
                without[point.size].append(point.baselines["composition only"]["property_mae"])
        for n in SIZES:
            table[target, "composition only", n] = f"{gmean(without[n]):.3g}"
            for name in others:
                three = [errors[name, n, seed] for seed in range(3)]
                table[target, name, n] = f"{gmean(three):.3g} ± {np.log(three).std(ddof=1):.0%}"
            place = given.out / target
            place.mkdir(exist_ok=True)
            for seed in range(3):
                folds = ranked(others, source, levels[target], n, seed, place)
                tested = [gmean([errors[name, n, s] for s in range(3)]) for name in folds]
                order[target, n].append(float(spearmanr(list(folds.values()), tested)[0]))
        rows = ("composition only", *parents)
        print(f"\n{target}\n| from | 50 | 200 |\n|---|---|---|")
        for row in rows:
            print(f"| {row} | " + " | ".join(table.get((target, row, n), "") for n in SIZES) + " |")
        for n in SIZES:
            ranks = order[target, n]
            print(
                f"rank by folds of {n} labels, Spearman: {np.mean(ranks):.2f} ± "
                f"{np.std(ranks, ddof=1):.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
