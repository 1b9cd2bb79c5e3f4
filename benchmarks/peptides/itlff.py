"""The chain of ITLFF with peptides: GFN2-xTB, AIMNet2, wB97X-3c with forces, a double hybrid (P5).

    python itlff.py labels --out DIR [--levels LEVEL ...] [--rounds 8] [--limit N]
    python itlff.py table --out DIR [--data itlff.h5] [--parent tlpot-peptides]
        [--strategies full head ...] [--sizes 10 20 30]

``labels``: twelve geometries each of capped Gly, Ala, Ser, Cys and Asn, of GFN2-xTB dynamics and
scans, at wB97X-3c with forces (60; ``--levels wB97X-3c --rounds 12``), and eight of them at
DSD-BLYP-D3BJ/def2-TZVP without (40). What they yielded lies in ``itlff/`` beside this script, and
an empty DIR begins with it. ``table``: the double hybrid learned from the parent's level `aimnet2`
in one step, after wB97X-3c has been learned (the chain), and from scratch; four folds by geometry,
so each of the 40 is tested once, by models that have seen neither of its labels.
A fifth of the labels of a step chooses the epoch. Everything in DIR is not done again.

The chain of the paper: Z. Cheng et al., doi:10.1093/bib/bbab590. The parent has learned GFN2-xTB
and AIMNet2 at once, on other geometries of these molecules among others.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ase.units import kcal, mol
from numpy.typing import NDArray

import tlpot
from tlpot.data import Split, open_dataset
from tlpot.evaluation import predict
from tlpot.models import load
from tlpot.structures import build_peptide

RESIDUES = ("GLY", "ALA", "SER", "CYS", "ASN")
ROUNDS, LABELLED, FOLDS = 12, 8, 4
FORCES, ENERGIES, TEACHER = "wb97x-3c", "dsd-blyp-d3bj/def2-tzvp", "aimnet2"
MADE = Path(__file__).with_suffix("")
"""Geometries, labels and their journal, with which more can be added."""
KCAL = kcal / mol


def labels(out: Path, levels: list[str], n_rounds: int, limit: int | None) -> None:
    """Samples and labels, one round of all residues after the other."""
    geometries = out / "geometries.h5"
    if not any(out.iterdir()):
        shutil.copytree(MADE, out, dirs_exist_ok=True)
    if not geometries.exists():
        tlpot.sample(
            [f"ACE-{name}-NME" for name in RESIDUES], geometries, methods=("scan", "md=2"),
            temperatures=(300.0, 500.0), budget=ROUNDS, pool=4,
        )  # fmt: skip
    by_kind: dict[str, list[Any]] = {}
    dataset = open_dataset(geometries)
    for frame in dataset.read(range(len(dataset))):
        by_kind.setdefault(frame.group, []).append(frame.system.to_atoms())
    rounds = [[each[k] for each in by_kind.values()] for k in range(ROUNDS)]
    atoms = [one for each in rounds[:n_rounds] for one in each]
    for level in levels:
        forces = "no" if level == ENERGIES else "analytic"
        print(tlpot.label(atoms, f"pyscf:{level}", out / "itlff.h5", forces=forces, limit=limit))


class Experiment:
    """The rows of the table, each from models that have not seen what they are tested on."""

    def __init__(self, data: Path, parent: str, out: Path, epochs: int) -> None:
        self.data, self.parent, self.out, self.epochs = data, parent, out, epochs
        self.dataset = open_dataset(data)
        place = np.empty(len(self.dataset), dtype=np.int64)
        for group in np.unique(self.dataset.group_idx):
            own = np.flatnonzero(self.dataset.group_idx == group)
            place[own] = np.arange(len(own))
        self.rounds = place
        self.first: NDArray[np.float64] | None = None
        self.labelled = {level: self.dataset.labelled(level) for level in (FORCES, ENERGIES)}

    def learned(
        self, start: str | Path | None, source: str | None, level: str, strategy: str, n: int,
        fold: int, name: str,
    ) -> Path:  # fmt: skip
        """Trains on `n` labels outside the fold, and returns the model."""
        output = self.out / f"{name}-{fold}.safetensors"
        if output.exists():
            return output
        free = np.flatnonzero(self.labelled[level] & (self.rounds % FOLDS != fold))
        chosen = free[np.argsort(self.rounds[free], kind="stable")][:n]
        picked = np.random.default_rng(fold).permutation(chosen)
        validation = np.sort(picked[: n // 5])
        split = Split(
            train=np.sort(picked[n // 5 :]), validation=validation, test=self.tested(level, fold),
            by="random", seed=fold, content_hash=self.dataset.content_hash,
        )  # fmt: skip
        stored = self.out / f"{name}-{fold}.json"
        split.save(stored)
        training: dict[str, Any] = {"seed": fold}
        if not strategy.startswith(("frozen-", "shift")):
            training |= {"epochs": self.epochs, "batch_size": 5}
        if start is None:
            tlpot.train(
                self.data, level=level, preset="tiny", output=output, split=stored,
                training={**training, "epochs": 3 * self.epochs}, progress=False,
            )  # fmt: skip
        else:
            tlpot.finetune(
                start, self.data, level=level, source=source, strategy=strategy, output=output,
                split=stored, training=training, report={"enabled": False}, progress=False,
            )  # fmt: skip
        return output

    def tested(self, level: str, fold: int) -> NDArray[np.int64]:
        """Returns the frames of a fold that have a label."""
        return np.flatnonzero(self.labelled[level] & (self.rounds % FOLDS == fold))

    def errors(self, models: list[Path], level: str) -> tuple[NDArray, NDArray, NDArray]:
        """Returns errors of energies, kcal/mol, their kinds, and of forces, kcal/mol/Å."""
        energies, kinds, forces = [], [], []
        for fold, path in enumerate(models):
            frames = self.tested(level, fold)
            found = predict(load(path, device="cpu").at(level), self.dataset, frames, level)
            energies.append((found.energy[:, 1] - found.energy[:, 0]) / KCAL)
            kinds.append(self.dataset.group_idx[found.indices])
            forces.append(np.ravel(found.forces[..., 1] - found.forces[..., 0]) / KCAL)
        return np.concatenate(energies), np.concatenate(kinds), np.concatenate(forces)

    def chain(self, n_forces: int, n: int, strategies: tuple[str, str], name: str) -> list[Path]:
        """Returns the models of all folds, `n_forces` labels of wB97X-3c first if there are any."""
        first, second = strategies
        models = []
        for fold in range(FOLDS):
            start: str | Path = self.parent
            source = TEACHER
            if n_forces:
                start = self.learned(
                    self.parent, TEACHER, FORCES, first, n_forces, fold, f"3c-{first}-{n_forces}"
                )
                source = FORCES
            models.append(self.learned(start, source, ENERGIES, second, n, fold, name))
        return models

    def described(self, models: list[Path]) -> str:
        """Returns errors of the double hybrid's energies out of fold, the last by kind.

        Between: what the absolute errors are above those of the first models described, 95 % over
        the geometries.
        """
        wrong, kinds, _ = self.errors(models, ENERGIES)
        if self.first is None:
            self.first = np.abs(wrong)
        more = np.abs(wrong) - self.first
        draws = np.random.default_rng(0).integers(0, len(more), (2000, len(more)))
        low, high = np.quantile(more[draws].mean(axis=1), [0.025, 0.975])
        each = [wrong[kinds == k] for k in np.unique(kinds)]
        own = np.concatenate([values - values.mean() for values in each])
        by_kind = "".join(f"{np.sqrt(np.mean(values**2)):7.2f}" for values in each)
        return (
            f"{np.sqrt(np.mean(wrong**2)):7.2f} {np.abs(wrong).mean():6.2f} "
            f"{np.sqrt(np.mean(own**2)):9.2f}  {low:+.2f} to {high:+.2f}    {by_kind}"
        )


def costs(journal: Path) -> dict[str, float]:
    """Returns the mean processor seconds of a label of each level, of the journal of the labels."""
    found: dict[str, list[float]] = {}
    levels: dict[str, str] = {}
    for line in journal.read_text().splitlines():
        entry = json.loads(line.partition(" ")[2])
        if "definition" in entry:
            levels[entry["engine"]] = entry["level"]
        elif entry.get("cost"):
            found.setdefault(levels[entry["engine"]], []).append(entry["cost"]["cpu_seconds"])
    return {level: round(float(np.mean(values)), 1) for level, values in found.items()}


def table(run: Experiment, first: str, strategies: list[str], sizes: list[int], n: int) -> None:
    """Trains what is missing and prints all rows; `n` labels of wB97X-3c are all there are."""
    cost = json.loads(run.data.with_suffix(".json").read_text())
    formulas = {
        build_peptide([name]).get_chemical_formula(): name.capitalize() for name in RESIDUES
    }
    kinds = "    ".join(formulas[name] for name in run.dataset.group_names)
    print(f"processor seconds of a label: {cost}")
    print(
        f"energies of {ENERGIES}, kcal/mol, out of fold; minutes of labels\n"
        f"{'':44}{'min':>6} {'RMSE':>7} {'MAE':>6} {'relative':>9}  {'MAE less first':>15}"
        f"   RMSE of {kinds}"
    )

    def row(words: str, models: list[Path], n_forces: int, n_energies: int) -> None:
        minutes = (cost[FORCES] * n_forces + cost[ENERGIES] * n_energies) / 60
        print(f"{words:44}{minutes:6.0f} {run.described(models)}", flush=True)

    most = sizes[-1]
    row("the parent, E0 refitted", run.chain(0, most, ("", "shift"), "one-shift"), 0, most)
    for strategy in strategies:
        for size in sizes:
            models = run.chain(0, size, ("", strategy), f"one-{strategy}-{size}")
            row(f"one step, {size} by {strategy}", models, 0, size)
        for m in (n // 3, n):
            for size in sizes:
                name = f"chain-{first}-{m}-{strategy}-{size}"
                models = run.chain(m, size, (first, strategy), name)
                row(f"chain, {m} by {first}, {size} by {strategy}", models, m, size)
    new = [run.learned(None, None, ENERGIES, "", most, k, "new") for k in range(FOLDS)]
    row(f"a new network, {most}", new, 0, most)
    starts = [run.learned(None, None, FORCES, "", n, k, "new-3c") for k in range(FOLDS)]
    new = [
        run.learned(start, FORCES, ENERGIES, first, most, k, "new-chain")
        for k, start in enumerate(starts)
    ]
    row(f"a new network, {n}, then {most} by {first}", new, n, most)
    print(f"{FORCES}, out of fold")
    for words, name, strategy, m in (
        ("before, E0 refitted", "3c-shift", "shift", n),
        *((f"after {m} by {first}", f"3c-{first}-{m}", first, m) for m in (n // 3, n)),
    ):
        models = [
            run.learned(run.parent, TEACHER, FORCES, strategy, m, fold, name)
            for fold in range(FOLDS)
        ]
        wrong, _, forces = run.errors(models, FORCES)
        print(
            f"  {words:28} E RMSE {np.sqrt(np.mean(wrong**2)):.2f} kcal/mol, F RMSE "
            f"{np.sqrt(np.mean(forces**2)):.2f}, MAE {np.abs(forces).mean():.2f} kcal/mol/Å"
        )


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    labelling = steps.add_parser("labels")
    labelling.add_argument("--levels", nargs="+", default=[FORCES, ENERGIES])
    labelling.add_argument("--rounds", type=int, default=LABELLED, help=f"of {ROUNDS}")
    labelling.add_argument("--limit", type=int)
    learning = steps.add_parser("table")
    learning.add_argument("--data", type=Path, default=MADE / "itlff.h5")
    learning.add_argument("--parent", default="tlpot-peptides")
    learning.add_argument("--epochs", type=int, default=60)
    learning.add_argument("--first", default="full", help="strategy of the step with forces")
    learning.add_argument("--strategies", nargs="+", default=["full", "head", "frozen-gp"])
    learning.add_argument("--sizes", type=int, nargs="+", default=[10, 20, 30])
    learning.add_argument("--forces", type=int, default=30, help="labels of the first step")
    for step in steps.choices.values():
        step.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.step == "labels":
        labels(given.out, given.levels, given.rounds, given.limit)
        found = costs(given.out / "itlff.h5.journal")
        (given.out / "itlff.json").write_text(json.dumps(found) + "\n")
    else:
        experiment = Experiment(given.data, given.parent, given.out, given.epochs)
        table(experiment, given.first, given.strategies, given.sizes, given.forces)


if __name__ == "__main__":
    main()
