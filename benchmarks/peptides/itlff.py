"""The chain of ITLFF with peptides: GFN2-xTB, AIMNet2, wB97X-3c with forces, a double hybrid (P5).

    python itlff.py labels --out DIR [--levels LEVEL ...] [--limit N]
    python itlff.py table --out DIR [--data itlff.h5] [--parent tlpot-peptides]
        [--strategies full head ...] [--sizes 5 10 15 30]

``labels``: twelve geometries each of capped Gly, Ala, Ser, Cys and Asn, of GFN2-xTB dynamics and
scans, at wB97X-3c with forces (60), and eight of each at DSD-BLYP-D3BJ/def2-TZVP without (40).
What they yielded lies beside this script. ``table``: the double hybrid learned from the parent's
level `aimnet2` in one step, after wB97X-3c has been learned (the chain), and from scratch; four
folds by geometry, so each of the 40 is tested once, by models that have seen neither of its labels.
A fifth of the labels of a step chooses the epoch. Everything in DIR is not done again.

The chain of the paper: Z. Cheng et al., doi:10.1093/bib/bbab590. The parent has learned GFN2-xTB
and AIMNet2 at once, on other geometries of these molecules among others.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
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

RESIDUES = ("GLY", "ALA", "SER", "CYS", "ASN")
ROUNDS, ROUNDS_OF_ENERGIES, FOLDS = 12, 8, 4
FORCES, ENERGIES, TEACHER = "wb97x-3c", "dsd-blyp-d3bj/def2-tzvp", "aimnet2"
HERE = Path(__file__).with_name("itlff.h5")
KCAL = kcal / mol


def labels(out: Path, levels: list[str], limit: int | None) -> None:
    """Samples and labels, one round of all residues after the other."""
    geometries = out / "geometries.h5"
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
    for level in levels:
        wanted = rounds[: ROUNDS_OF_ENERGIES if level == ENERGIES else ROUNDS]
        atoms = [one for each in wanted for one in each]
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
        training: Mapping[str, Any] = {"seed": fold}
        if not strategy.startswith("frozen-"):
            training = {"seed": fold, "epochs": self.epochs, "batch_size": 5}
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
            forces.append(np.ravel(found.forces[:, 1] - found.forces[:, 0]) / KCAL)
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

    def row(self, words: str, models: list[Path], seconds: float) -> None:
        """Prints errors out of fold."""
        wrong, kinds, _ = self.errors(models, ENERGIES)
        own = np.concatenate([wrong[kinds == k] - wrong[kinds == k].mean() for k in set(kinds)])
        by_kind = " ".join(
            f"{np.sqrt(np.mean(wrong[kinds == k] ** 2)):6.2f}" for k in sorted(set(kinds))
        )
        print(
            f"{words:44} {seconds / 60:6.0f}  {np.sqrt(np.mean(wrong**2)):7.2f} "
            f"{np.abs(wrong).mean():6.2f} {np.sqrt(np.mean(own**2)):9.2f}   {by_kind}",
            flush=True,
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


def table(experiment: Experiment, sizes: list[int], n_forces: list[int], given: Any) -> None:
    """Trains what is missing and prints all rows."""
    cost = json.loads(experiment.data.with_suffix(".json").read_text())
    kinds = [experiment.dataset.group_names[k] for k in range(len(RESIDUES))]
    print(f"labels, processor seconds: {cost}")
    print(
        f"{'':44} {'min':>6}  {'RMSE':>7} {'MAE':>6} {'relative':>9}   RMSE of "
        + " ".join(kinds)
        + ", kcal/mol"
    )
    none = experiment.chain(0, sizes[-1], ("", "shift"), f"one-shift-{sizes[-1]}")
    experiment.row("parent, reference energies refitted", none, cost[ENERGIES] * sizes[-1])
    for strategy in given.strategies:
        for n in sizes:
            models = experiment.chain(0, n, ("", strategy), f"one-{strategy}-{n}")
            experiment.row(f"one step, {strategy}, {n}", models, cost[ENERGIES] * n)
        for m in n_forces:
            for n in sizes:
                name = f"chain-{given.first}-{m}-{strategy}-{n}"
                models = experiment.chain(m, n, (given.first, strategy), name)
                words = f"chain, {m} by {given.first}, then {n} by {strategy}"
                experiment.row(words, models, cost[FORCES] * m + cost[ENERGIES] * n)
    for m in (0, n_forces[-1]):
        experiment.scratch = True
        models = []
        for fold in range(FOLDS):
            start: Path | None = None
            if m:
                start = experiment.learned(None, None, FORCES, "", m, fold, f"new-3c-{m}")
            name = f"new-{m}-{sizes[-1]}"
            source = FORCES if m else None
            strategy = given.strategies[0]
            models.append(
                experiment.learned(start, source, ENERGIES, strategy, sizes[-1], fold, name)
            )
        words = f"new network, {m} of {FORCES}, then {sizes[-1]}"
        experiment.row(words, models, cost[FORCES] * m + cost[ENERGIES] * sizes[-1])
    for words, models in (("before", none), *(
        (f"{m} labels by {given.first}", [
            experiment.out / f"3c-{given.first}-{m}-{fold}.safetensors" for fold in range(FOLDS)
        ]) for m in n_forces
    )):  # fmt: skip
        if words == "before":
            models = [
                experiment.learned(
                    experiment.parent, TEACHER, FORCES, "shift", n_forces[-1], fold, "3c-shift"
                )
                for fold in range(FOLDS)
            ]
        wrong, _, forces = experiment.errors(models, FORCES)
        print(
            f"{FORCES}, {words:28} E RMSE {np.sqrt(np.mean(wrong**2)):.2f} kcal/mol, "
            f"F RMSE {np.sqrt(np.mean(forces**2)):.2f} kcal/mol/Å"
        )


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    labelling = steps.add_parser("labels")
    labelling.add_argument("--levels", nargs="+", default=[FORCES, ENERGIES])
    labelling.add_argument("--limit", type=int)
    learning = steps.add_parser("table")
    learning.add_argument("--data", type=Path, default=HERE)
    learning.add_argument("--parent", default="tlpot-peptides")
    learning.add_argument("--epochs", type=int, default=60)
    learning.add_argument("--first", default="full", help="strategy of the step with forces")
    learning.add_argument("--strategies", nargs="+", default=["full", "head", "frozen-gp"])
    learning.add_argument("--sizes", type=int, nargs="+", default=[5, 10, 20, 30])
    learning.add_argument("--forces", type=int, nargs="+", default=[15, 45])
    for step in steps.choices.values():
        step.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.step == "labels":
        labels(given.out, given.levels, given.limit)
        found = costs(given.out / "itlff.h5.journal")
        (given.out / "itlff.json").write_text(json.dumps(found) + "\n")
    else:
        experiment = Experiment(given.data, given.parent, given.out, given.epochs)
        table(experiment, given.sizes, given.forces, given)


if __name__ == "__main__":
    main()
