"""All strategies on one split and the same seeds: python benchmarks/transfer/tasks.py TASK.

T1        MP2 to CCSD(T), energies and forces of H2CO (vpt2-tl); the parent has learned MP2 labels
          of 3200 geometries, among them those that are tested
T1-F12    the same parent, to CCSD(T)-F12; T1-HONO (geometries below -13 eV) and T1-HCOOH: MP2 to
          CCSD(T) of other molecules
T2        ωB97X to composite CCSD(T), energies only, molecules without any coupled-cluster label
          in training (the shipped tlpot-qm and tlpot-tiny; the parent has seen cheap labels of
          them)
T3        GFN2-xTB to DLPNO-CCSD(T), energies only, drug-like molecules of up to 34 atoms
          (conformer-benchmark), other molecules for the test; errors of relative energies. The
          parent has learned GFN2-xTB, computed here, for all conformers and displaced copies
T3-relative  the same, with each molecule's energies shifted to the mean of its GFN2-xTB energies
T4        GFN2-xTB to PBE-D3, energies and forces of acetylacetone (acac), tested on the 300 K
          set; the parent has learned GFN2-xTB, computed here, for the training geometries and
          for trajectories at 300 and 600 K

Prints errors of every strategy and number of labels, mean ± standard deviation over the seeds,
and what the pretraining is worth. Everything resumes. DIR holds the folders vpt2-tl/,
conformer-benchmark/ and acac/ (sources in surfaces.py, conformers.py and acetylacetone.py);
T2 needs none. T3 and T4 need tblite: pip install tblite.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from acetylacetone import PBE, TEST, write_acetylacetone
from conformers import DLPNO, RELATIVE, write_conformers
from labelled import GFN2
from relative import parent_error, relative_table
from surfaces import CC, F12, MP2, write_surface

from tlpot.jobs import train_config, train_from_scratch
from tlpot.learning_curves import CurveConfig, analyse, curve_config, curve_figure, run_curve
from tlpot.models import LIBRARY
from tlpot.presentation import drawn
from tlpot.transfer import STRATEGY_NAMES

CBS = "ccsd(t)/cbs(dt)"
WB97X = "wb97x/6-31g*"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What differs between the tasks.

    Attributes:
        level: to learn.
        sizes: numbers of labels.
        split: of the labels.
        low: level of the parent; None for the shipped parent.
        pretraining: the parent's split and training; a parent of that name serves all tasks
            that name it.
        parent: name of the parent's file, or of the shipped parent.
        data: name of the data's file, which is written first, and what writes it.
        strategies: those that the task is about, with the settings that they need there; the
            command may name others.
        updates: of each training, unless the command says how many.
        relative: whether errors of relative energies are wanted.
    """

    level: str
    sizes: tuple[int, ...]
    split: Mapping[str, Any]
    parent: str
    low: str | None = None
    pretraining: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[str, Callable[[Path, Path], None]] | None = None
    strategies: tuple[str | Mapping[str, Any], ...] = STRATEGY_NAMES
    updates: int = 1000
    relative: bool = False


def _surface(name: str) -> tuple[str, Callable[[Path, Path], None]]:
    return name, lambda folder, path: write_surface(name, folder / "vpt2-tl", path)


def _surface_task(name: str, level: str, epochs: int) -> Task:
    return Task(
        level=level,
        sizes=(10, 30, 100, 300),
        split={"by": "random", "validation": 20, "test": 500},
        parent=f"{name}-parent",
        low=MP2,
        pretraining={
            "split": {"by": "random", "validation": 50, "test": 351},
            "training": {"epochs": epochs, "batch_size": 16},
        },
        data=_surface(name),
        strategies=tuple(_joint(MP2) if n == "multihead" else n for n in STRATEGY_NAMES),
    )


def _joint(low: str) -> Mapping[str, Any]:
    return {"name": "multihead", "levels": [low], "label": "multihead"}


_CONFORMERS = {
    "split": {"by": "random", "validation": 60, "test": 100},
    "training": {"epochs": 24, "batch_size": 8},
}
_ON_GFN2 = {"name": "delta", "low": GFN2, "label": "delta on GFN2-xTB"}
"""The difference from labels, which a GFN2-xTB calculator gives when the model is used."""

TASKS = {
    "T1": _surface_task("H2CO", CC, 300),
    "T1-F12": _surface_task("H2CO", F12, 300),
    "T1-HONO": _surface_task("HONO", CC, 100),
    "T1-HCOOH": _surface_task("HCOOH", CC, 60),
    "T2": Task(
        level=CBS,
        sizes=(25, 50, 100, 200),
        split={
            "by": "random",
            "validation": 40,
            "test": ["aziridine", "dimethylamine", "ethanol", "formic_acid", "methanol"],
        },
        parent="tlpot-tiny",
        strategies=tuple(_joint(WB97X) if n == "multihead" else n for n in STRATEGY_NAMES),
    ),
    "T3": Task(
        level=DLPNO,
        sizes=(100, 800),
        split={"by": "molecule", "validation": 60, "test": 400},
        parent="T3-parent",
        low=GFN2,
        pretraining=_CONFORMERS,
        data=("T3-data", lambda folder, path: write_conformers(_conformers(folder), path)),
        strategies=("scratch", "shift", "head", "full", _joint(GFN2), _ON_GFN2, "frozen-ridge"),
        updates=400,
        relative=True,
    ),
    "T3-relative": Task(
        level=RELATIVE,
        sizes=(886,),  # all: the shift of a molecule is made from all its conformers
        split={"by": "molecule", "validation": 60, "test": 400},
        parent="T3-parent",
        low=GFN2,
        pretraining=_CONFORMERS,
        data=(
            "T3-relative-data",
            lambda folder, path: write_conformers(_conformers(folder), path, relative=True),
        ),
        strategies=("scratch", "shift", "head", "full", _joint(GFN2), _ON_GFN2, "frozen-ridge"),
        updates=400,
        relative=True,
    ),
    "T4": Task(
        level=PBE,
        sizes=(10, 50, 450),
        split={"by": "random", "validation": 50, "test": [TEST]},
        parent="T4-parent",
        low=GFN2,
        pretraining={
            "split": {"by": "random", "validation": 50, "test": [TEST]},
            "training": {"epochs": 60, "batch_size": 8},
        },
        data=("T4-data", lambda folder, path: write_acetylacetone(folder / "acac", path)),
        strategies=tuple(
            {"multihead": _joint(GFN2), "delta": _ON_GFN2}.get(n, n) for n in STRATEGY_NAMES
        ),
        updates=500,
    ),
}


def _conformers(folder: Path) -> Path:
    return folder / "conformer-benchmark" / "conformers_dlpno_train.h5"


def _chosen(task: Task, names: Sequence[str] | None) -> list[str | Mapping[str, Any]]:
    """Returns the strategies to compare, with the task's settings for those that it has."""
    if names is None:
        return list(task.strategies)
    known = {s if isinstance(s, str) else s["name"]: s for s in task.strategies}
    return [known.get(name, name) for name in names]


def curve_of(name: str, options: argparse.Namespace) -> CurveConfig:
    """Returns a task's curve; writes its data and trains its parent where they are missing."""
    task = TASKS[name]
    if task.data is None:
        data, parent = LIBRARY / "tlpot-qm.h5", task.parent
    else:
        data = options.out / f"{task.data[0]}.h5"
        if not data.exists():
            if options.data is None:
                raise SystemExit("name the data with --data")
            task.data[1](Path(options.data), data)
        parent = str(options.parent or options.out / f"{task.parent}.safetensors")
        if not Path(parent).exists():
            _pretrain(task, data, Path(parent))
    return curve_config(
        {
            "parents": [parent],
            "data": {"files": [str(data)]},
            "level": task.level,
            "sizes": options.sizes or task.sizes,
            "split": task.split,
            "training": {"batch_size": 5},
            "strategies": _chosen(task, options.strategies),
            "seeds": options.seeds,
            "updates": options.updates or task.updates,
            "output": str(options.out / name),
            "keep_models": task.relative,
        }
    )


def _pretrain(task: Task, data: Path, parent: Path) -> None:
    settings = {
        "data": {"files": [str(data)]},
        "level": task.low,
        "output": str(parent),
        "defaults": 1,  # the parents of RESULTS.md
        **task.pretraining,
    }
    resume = (parent.with_suffix(".run") / "checkpoint.safetensors").exists()
    print(train_from_scratch(train_config(settings), resume=resume).end.text(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--parent", type=Path, help="a parent that was trained before")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGY_NAMES)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, help="of each training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    config = curve_of(options.task, options)
    curve = run_curve(config)
    shown = [q for q in ("energy_mae", "forces_mae") if q in curve.quantities()]
    reports = {quantity: analyse(curve, quantity) for quantity in shown}
    drawn(curve_figure(reports), options.out / f"{options.task}.png")
    print("\n\n".join(report.text() for report in reports.values()))
    for failure in curve.failures:
        print(f"failed: {failure.label}, {failure.size}, seed {failure.seed}: {failure.error}")
    if TASKS[options.task].relative:
        print(f"\n{relative_table(config)}\n  {parent_error(Path(config.parents[0]), config)}")


if __name__ == "__main__":
    main()
