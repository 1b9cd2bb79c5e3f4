"""Trains the small property models that ship, each on a split by formula.

    python benchmarks/parents/properties.py OUT --data DIR [--only NAME ...] [--ship]

``--data`` (or TLPOT_DATA) holds ``properties/``, see benchmarks/properties/gaps.py; the structures
are those of the Materials Project (CC-BY 4.0), 2DMatPedia (MIT) and WWL-GPR (MIT). Every model is
one network `crystal` with an embedding of elemental features. What is there already is not trained
again. ``--ship`` writes those whose error on the test structures is at least a tenth below that of
composition only into the library, with a training domain of few axes, and both errors in the card.
"""

import argparse
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import tlpot
from tlpot.data import load_split, open_dataset
from tlpot.models import LIBRARY, load_potential, save
from tlpot.uncertainty import fit_domain

N_AXES, N_PROTOTYPES = 2, 8
"""Of the training domain, which has 84 elements: with more axes a file is beyond 300 kB."""

LEAST = 0.9
"""Of the error of composition only; of some tens of test structures less says nothing."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A property: file, key, what it is, and how long to train."""

    file: str
    key: str
    level: str
    epochs: int
    source: str
    test: float = 0.1
    by: str = "formula"


PROJECT = "Materials Project structures, CC-BY 4.0"
TASKS = {
    "gap-pbe": Task(file="gaps", key="gap_pbe, eV, intensive", level="gap@pbe", epochs=8,
                    source=f"{PROJECT}; gaps of MEGNet, BSD-3"),
    "metal-pbe": Task(file="gaps", key="gap_pbe, intensive, yes_no", level="metal@pbe", epochs=8,
                      source=f"{PROJECT}; gaps of MEGNet, BSD-3"),
    "gap-hse06": Task(file="gaps", key="gap_hse06, eV, intensive", level="gap@hse06", epochs=12,
                      source=f"{PROJECT}; gaps of MEGNet, BSD-3"),
    "bulk-modulus": Task(file="elastic", key="bulk_modulus, GPa, intensive, positive",
                         level="bulk_modulus@pbe", epochs=20,
                         source=f"{PROJECT}; moduli of MatCalc, BSD-3"),
    "shear-modulus": Task(file="elastic", key="shear_modulus, GPa, intensive, positive",
                          level="shear_modulus@pbe", epochs=20,
                          source=f"{PROJECT}; moduli of MatCalc, BSD-3"),
    "heat-capacity": Task(file="heat_capacity",
                          key="heat_capacity_per_atom, J/mol/K, intensive",
                          level="heat_capacity@pbe", epochs=20,
                          source=f"{PROJECT}; heat capacities of MatCalc, BSD-3"),
    "adsorption-energy": Task(file="adsorption", key="adsorption_energy, eV, extensive",
                              level="adsorption_energy@dft", epochs=20,
                              source="WWL-GPR, MIT", by="surface"),
    "gap-2d": Task(file="two_dimensional", key="bandgap, eV, intensive", level="gap_2d@pbe",
                   epochs=20, source="2DMatPedia, MIT"),
    "decomposition-2d": Task(file="two_dimensional",
                             key="decomposition_energy, eV, intensive",
                             level="decomposition_energy@pbe", epochs=20,
                             source="2DMatPedia, MIT"),
    "exfoliation-2d": Task(file="two_dimensional",
                           key="exfoliation_energy_per_atom, eV, intensive",
                           level="exfoliation_energy@pbe", epochs=20,
                           source="2DMatPedia, MIT"),
}  # fmt: skip


def spec_of(task: Task, out: Path) -> Path:
    """Writes the description of a task's file."""
    words = [word.strip() for word in task.key.split(",")]
    value = {"value": words[0], "extensive": "extensive" in words}
    if "yes_no" in words:
        value |= {"kind": "yes_no", "zeros": "yes_no"}
    else:
        value |= {"unit": words[1], "kind": "positive" if "positive" in words else "scalar"}
    content = {
        "container": "extxyz",
        "units": {"coordinates": "angstrom"},
        "levels": {task.level: value},
        "columns": [
            "mp_id", "material_id", "name", "adsorbate", "surface", "facet", "parent", "discovery",
        ],
    }  # fmt: skip
    path = out / f"{task.level}.yaml"
    path.write_text(json.dumps(content))
    return path


def trained(name: str, task: Task, folder: Path, out: Path) -> Path:
    """Trains a model, or goes on with it; nothing where it is there."""
    target = out / f"{name}.safetensors"
    if (out / f"{name}.run" / "report.json").exists():
        return target
    split = {"by": task.by, "validation": 0.1, "test": task.test, "seed": 0}
    if task.by == "surface":
        split |= {"by": "key", "key": "surface"}
    found = tlpot.train(
        config={
            "data": {
                "files": [str(folder / f"{task.file}.extxyz.xz")],
                "spec": str(spec_of(task, out)),
            },
            "model": {"preset": "crystal", "species": "elemental", "elements": "all"},
            "split": split,
            "training": {"batch_size": 32, "validate_every": 2},
        },
        level=task.level, epochs=task.epochs, output=target, name=name, licence="CC-BY-4.0",
        resume=(out / f"{name}.run" / "checkpoint.safetensors").exists(),
    )  # fmt: skip
    print(found, flush=True)
    return target


def shipped(name: str, task: Task, path: Path, folder: Path, out: Path) -> str:
    """Writes a model that is better than composition only into the library; says what it did."""
    model = load_potential(path)
    test = model.card.metrics["test"][task.level]
    without = model.card.metrics["without a network"]
    key = "cross_entropy" if "yes_no" in task.key else "property_mae"
    own, composition = test[key], without["composition only"][key]
    row = f"{name:20} {key} {own:.4g}, composition only {composition:.4g}"
    if own > LEAST * composition:
        return f"{row}: not shipped"
    dataset = open_dataset(folder / f"{task.file}.extxyz.xz", spec_of(task, out))
    split = load_split(path.with_suffix(".run") / "split.json", dataset)
    head = model.head(task.level)
    head.domain = fit_domain(
        model.at(task.level), dataset, split.train, split.validation, n_axes=N_AXES,
        n_prototypes=N_PROTOTYPES,
    )  # fmt: skip
    called = f"tlpot-{name}"
    recipe = json.loads(json.dumps(model.card.recipe))
    recipe["data"] |= {"files": [f"{task.file}.extxyz.xz"], "spec": f"{task.level}.yaml"}
    recipe["output"] = f"{called}.safetensors"
    licence = "MIT" if task.source.endswith("MIT") else "CC-BY-4.0"
    unit = model.target(task.level).quantity.unit
    unit = f" {unit}" if unit else ""
    error = "cross entropy" if key == "cross_entropy" else "mean absolute error"
    model.card = replace(
        model.card, name=called, licence=licence, recipe=recipe,
        description=f"{task.level} of {len(split.train):,} structures; {error} {own:.3g}{unit} for "
        f"other {task.by}s, {composition:.3g} by the composition alone",
        citation=task.source,
    )  # fmt: skip
    target = LIBRARY / f"{called}.safetensors"
    save(model, target)
    return f"{row}: {target.stat().st_size / 1e3:.0f} kB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--only", nargs="+", choices=[*TASKS], default=[*TASKS])
    parser.add_argument("--ship", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    folder = Path(given.data) / "properties"
    for name in given.only:
        path = trained(name, TASKS[name], folder, given.out)
        if given.ship:
            print(shipped(name, TASKS[name], path, folder, given.out), flush=True)


if __name__ == "__main__":
    main()
