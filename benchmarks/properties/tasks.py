"""Transfers of properties with few labels: python tasks.py TASK ... --data DIR --out OUT.

Learning curves (`tlpot curve`) of trained and frozen strategies from a parent, three seeds, beside
the baselines that every curve has. DIR (or TLPOT_DATA) holds ``properties/``:

    scan, r2scan, experiment  formation enthalpies, from PBE+U of the same 213 compounds at its own
                              geometry (soungmin-bae/FERE-calculator; no licence, measured only);
                              the parent has the PBE+U values of all of them
    volume                    the volume per atom at SCAN, from that at PBE+U and its structure
    oh                        adsorption energies of OH, from H, O and CO (WWL-GPR, MIT)
    platinum                  of all adsorbates on surfaces with platinum, from those without
    layers                    gaps of layers (2DMatPedia, MIT), from ``gap-pbe.safetensors`` of
                              ../parents/properties.py in OUT, bulk crystals
    decomposition             decomposition energies of layers, split by the bulk crystal that they
                              come from, from ``formation.safetensors`` of matrix.py in OUT,
                              formation energies of bulk crystals by CHGNet
    shuffled                  scan with the labels in another order: nothing can be learned

What is in OUT already is not repeated.
"""

import argparse
import json
import lzma
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import ase.io
import numpy as np
from ase import Atoms

import tlpot

MODEL = {"preset": "crystal", "species": "elemental", "elements": "all"}
STRUCTURE_ONLY = ("scratch", "head", "full", "frozen-ridge", "frozen-forest")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A parent's property and the one to learn.

    Attributes:
        frames: makes those that the parent and those that the curve sees, from ``properties/``.
        source: the parent's property; its label is the key ``source`` of a frame.
        target: to learn; its label is ``target``.
        unit: of both.
        sizes: numbers of labels.
        test: structures.
        validation: structures.
        epochs: of the parent; None for `parent`.
        parent: model in OUT that is made elsewhere.
        key: of the frames that a split keeps together; None for the formula where the parent
            knows the same compounds or other ones, and nothing where it knows the same slabs.
        updates: of each training.
        told: whether to add rows that are told the source's value of each structure.
        extensive: both.
    """

    frames: Callable[[Path], tuple[list[Atoms], list[Atoms]]]
    source: str
    target: str
    unit: str
    sizes: tuple[int, ...]
    test: int
    validation: int
    epochs: int | None
    parent: str = ""
    key: str | None = None
    updates: int = 300
    told: bool = False
    extensive: bool = False


def read(folder: Path, name: str) -> list[Atoms]:
    with lzma.open(folder / f"{name}.extxyz.xz", "rt") as file:
        return ase.io.read(file, ":", format="extxyz")


def labelled(atoms: Atoms, **labels: float) -> Atoms:
    """Returns the structure with these labels and nothing else."""
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.info = {key: float(value) for key, value in labels.items() if np.isfinite(value)}
    return bare


def enthalpies(level: str, *, shuffled: bool = False) -> Callable[[Path], Any]:
    """Frames at the geometry of PBE+U with its value and that of a level."""

    def made(folder: Path) -> tuple[list[Atoms], list[Atoms]]:
        by_level: dict[str, dict[str, Atoms]] = {}
        for atoms in read(folder, "formation_enthalpy"):
            by_level.setdefault(atoms.info["level"], {})[atoms.info["formula"]] = atoms
        cheap = by_level["pbe_u"]
        key = "formation_enthalpy"
        wanted = {
            formula: cheap[formula].info[f"{key}_experiment"]
            if level == "experiment"
            else by_level[level][formula].info[key]
            for formula in cheap
        }
        if shuffled:
            order = np.random.default_rng(0).permutation(len(wanted))
            values = list(wanted.values())
            wanted = {f: values[k] for f, k in zip(wanted, order, strict=True)}
        frames = [
            labelled(atoms, source=atoms.info[key], target=wanted[formula])
            for formula, atoms in cheap.items()
        ]
        return frames, frames

    return made


def volumes(folder: Path) -> tuple[list[Atoms], list[Atoms]]:
    """Frames at the geometry of PBE+U with its volume per atom and that at SCAN."""
    by_level: dict[str, dict[str, Atoms]] = {}
    for atoms in read(folder, "formation_enthalpy"):
        by_level.setdefault(atoms.info["level"], {})[atoms.info["formula"]] = atoms
    frames = []
    for formula, atoms in by_level["pbe_u"].items():
        dear = by_level["scan"][formula]
        values = (each.get_volume() / len(each) for each in (atoms, dear))
        frames.append(labelled(atoms, **dict(zip(("source", "target"), values, strict=True))))
    return frames, frames


def adsorption(chosen: Callable[[dict], bool], known: Callable[[dict], bool]) -> Callable:
    """Frames of slabs: those that the parent has learned, and those that are to be learned."""

    def made(folder: Path) -> tuple[list[Atoms], list[Atoms]]:
        slabs = read(folder, "adsorption")
        key = "adsorption_energy"
        return (
            [labelled(a, source=a.info[key]) for a in slabs if known(a.info)],
            [labelled(a, target=a.info[key]) for a in slabs if chosen(a.info)],
        )

    return made


def layers(folder: Path) -> tuple[list[Atoms], list[Atoms]]:
    found = read(folder, "two_dimensional")
    return [], [labelled(atoms, target=atoms.info["bandgap"]) for atoms in found]


def decompositions(folder: Path) -> tuple[list[Atoms], list[Atoms]]:
    frames = []
    for atoms in read(folder, "two_dimensional"):
        if "decomposition_energy" in atoms.info and "parent" in atoms.info:
            frames.append(labelled(atoms, target=atoms.info["decomposition_energy"]))
            frames[-1].info["parent"] = str(atoms.info["parent"])
    return [], frames


ENTHALPY = {
    "source": "formation_enthalpy@pbe+u", "unit": "eV/atom", "sizes": (20, 50, 150), "test": 45,
    "validation": 18, "epochs": 60, "told": True,
}  # fmt: skip
ADSORPTION = {
    "source": "adsorption_energy@known", "target": "adsorption_energy@new", "unit": "eV",
    "epochs": 60, "updates": 150, "extensive": True, "validation": 20,
}  # fmt: skip
TASKS = {
    "scan": Task(frames=enthalpies("scan"), target="formation_enthalpy@scan", **ENTHALPY),
    "r2scan": Task(frames=enthalpies("r2scan"), target="formation_enthalpy@r2scan", **ENTHALPY),
    "experiment": Task(
        frames=enthalpies("experiment"), target="formation_enthalpy@experiment", **ENTHALPY
    ),
    "shuffled": Task(
        frames=enthalpies("scan", shuffled=True), target="formation_enthalpy@shuffled", **ENTHALPY
    ),
    "volume": Task(
        frames=volumes, target="volume@scan",
        **ENTHALPY | {"source": "volume@pbe+u", "unit": "A^3"},
    ),
    "oh": Task(
        frames=adsorption(
            lambda info: info["adsorbate"] == "OH",
            lambda info: info["adsorbate"] in ("H", "O", "CO"),
        ),
        sizes=(27, 180), test=70, **ADSORPTION,
    ),
    "platinum": Task(
        frames=adsorption(
            lambda info: "Pt" in info["surface"], lambda info: "Pt" not in info["surface"]
        ),
        sizes=(22, 140), test=60, **ADSORPTION,
    ),
    "layers": Task(
        frames=layers, source="gap@pbe", target="gap@layers", unit="eV", sizes=(50, 200, 600),
        test=200, validation=80, epochs=None, parent="gap-pbe.safetensors",
    ),
    "decomposition": Task(
        frames=decompositions, source="formation_energy@chgnet", unit="eV/atom",
        target="decomposition_energy@layers", sizes=(50, 200, 600), test=180, validation=80,
        epochs=None, parent="formation.safetensors", key="parent",
    ),
}  # fmt: skip


def section(frames: list[Atoms], levels: dict[str, str], task: Task, base: Path) -> dict[str, Any]:
    """Writes frames and their description, once; returns the ``data`` of a configuration."""
    file, spec = base.with_suffix(".xyz"), base.with_suffix(".yaml")
    if not file.exists():
        ase.io.write(file, frames, format="extxyz")
    content = {
        "container": "extxyz",
        "units": {"coordinates": "angstrom"},
        "levels": {
            level: {"value": key, "unit": task.unit, "extensive": task.extensive}
            for level, key in levels.items()
        },
    } | ({} if task.key is None else {"columns": [task.key]})
    spec.write_text(json.dumps(content))
    return {"files": [str(file)], "spec": str(spec)}


def parent_of(name: str, task: Task, frames: list[Atoms], out: Path) -> Path:
    """Trains the parent, once."""
    if task.epochs is None:
        return out / task.parent
    target = out / f"{name}-parent.safetensors"
    if not (target.with_suffix(".run") / "report.json").exists():
        found = tlpot.train(
            config={
                "data": section(frames, {task.source: "source"}, task, out / f"{name}-parent"),
                "model": MODEL,
                "split": {"by": "formula", "validation": 0.1, "test": 0.1, "seed": 0},
                "training": {"batch_size": 16, "validate_every": 2},
            },
            level=task.source, epochs=task.epochs, output=target, name=f"{name}-parent",
            overwrite=True,
        )  # fmt: skip
        print(found, flush=True)
    return target


def measured(name: str, folder: Path, out: Path, strategies: list[str], seeds: int) -> None:
    """Prints the learning curves of a task."""
    task = TASKS[name]
    known, frames = task.frames(folder)
    parent = parent_of(name, task, known, out)
    levels = {task.target: "target"} | ({task.source: "source"} if task.told else {})
    rows: list[Any] = [s for s in strategies if s in STRUCTURE_ONLY]
    if task.told:
        rows += [
            {"name": s, "known": task.source}
            for s in ("shift", "frozen-ridge", "frozen-forest", "full")
            if f"{s}+known" in strategies
        ]
    by = "formula" if task.told or task.epochs is None else "random"
    found = tlpot.learning_curve(
        parent,
        config={
            "data": section(frames, levels, task, out / name),
            "split": {
                "validation": task.validation, "test": task.test, "seed": 1,
                **({"by": by} if task.key is None else {"by": "key", "key": task.key}),
            },
            "updates": task.updates,
            "training": {"batch_size": 16},
        },
        level=task.target, strategies=rows, sizes=list(task.sizes), seeds=seeds,
        output=out / f"{name}.curve",
    )  # fmt: skip
    print(f"\n{name}\n{found}", flush=True)


def main() -> None:
    told = ("shift", "frozen-ridge", "frozen-forest", "full")
    every = [*STRUCTURE_ONLY, *(f"{name}+known" for name in told)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", nargs="+", choices=TASKS)
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--strategies", nargs="+", choices=every, default=every)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    if given.data is None:
        parser.error("--data, or TLPOT_DATA, is needed")
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.task:
        measured(name, Path(given.data) / "properties", given.out, given.strategies, given.seeds)


if __name__ == "__main__":
    main()
