"""Frozen features on the tasks of properties that need no training: tables in minutes.

    python benchmarks/properties/frozen.py all --data DIR --out DIR

``--out`` holds ``pbe.safetensors`` of ``gaps.py parent``, or the shipped ``tlpot-gap-pbe`` by that
name. Features of every structure are evaluated
once and kept there; what is fitted to them is what the strategies ``shift`` (composition only, or
a line on a known value and the composition), ``frozen-ridge`` and ``frozen-forest`` fit, with the
functions of the package. ``untrained`` is a network of the same shape with random weights: what
it gives is not transferred. Splits are by formula; three seeds draw training and test structures.

    hse06       HSE06 gaps, structure only and told the PBE gap; all, and non-metals alone
    properties  heat capacities from 124 labels, moduli from 124
    shift       a sampling bias made by hand, and oxygen left out: weights, alignment, on and off
    shotgun     the k-fold rank of models, blocks and regressors beside that on test structures
"""

import argparse
import json
import os
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from scipy.stats import spearmanr, t
from sklearn.ensemble import RandomForestRegressor

import tlpot
from tlpot.data import frames_of, kept_kinds, open_dataset
from tlpot.evaluation import predict
from tlpot.models import Potential, feature_blocks, load_potential
from tlpot.training import fit_composition
from tlpot.transfer import Moments, aligned, assign_folds, density_ratio, fit_ridge, pooled_features

SOURCE = "gap@pbe"
SPECS = {
    "gaps": {"gap@hse06": ("gap_hse06", "eV"), "gap@pbe": ("gap_pbe", "eV")},
    "heat_capacity": {"heat@pbe": ("heat_capacity_per_atom", "J/mol/K")},
    "elastic": {"bulk@pbe": ("bulk_modulus", "GPa"), "shear@pbe": ("shear_modulus", "GPa")},
}
BLOCKS = {"layers": ("layer 1", "layer 2"), "layer 1": ("layer 1",), "layer 2": ("layer 2",)}


@dataclass(frozen=True, kw_only=True)
class Task:
    """Structures with a value of a property.

    Attributes:
        values: [n].
        composition: [n, n_elements], fractions.
        groups: [n], formulas.
        features: by model and block, [n, n_features].
        said: [n], what the parent says of its own property.
        known: [n], PBE gaps where the file has them.
        elements: of the columns of the composition.
    """

    values: np.ndarray
    composition: np.ndarray
    groups: np.ndarray
    features: dict
    said: np.ndarray
    known: np.ndarray | None
    elements: tuple

    def only(self, kept: np.ndarray) -> "Task":
        """Returns some of the structures."""
        return Task(
            values=self.values[kept], composition=self.composition[kept],
            groups=self.groups[kept],
            features={m: {b: x[kept] for b, x in of.items()} for m, of in self.features.items()},
            said=self.said[kept], known=None if self.known is None else self.known[kept],
            elements=self.elements,
        )  # fmt: skip


def read(name: str, level: str, arguments: argparse.Namespace) -> Task:
    """Evaluates features of all structures with a value, or reads them."""
    kept = arguments.out / f"features-{level.replace('@', '-')}.npz"
    parent = load_potential(str(arguments.out / "pbe.safetensors"), device="cpu")
    if not kept.exists():
        keys = {each: f"{key}, {unit}, intensive" for each, (key, unit) in SPECS[name].items()}
        file = Path(arguments.data) / "properties" / f"{name}.extxyz.xz"
        dataset = open_dataset([str(file)], keys=keys)
        known = set(parent.elements)
        indices = np.flatnonzero(dataset.labelled(level))
        frames = list(frames_of(dataset, indices, levels=list(SPECS[name])))
        usable = np.array([set(f.system.atomic_numbers.tolist()) <= known for f in frames])
        frames = [f for f, ok in zip(frames, usable, strict=True) if ok]
        indices = indices[usable]
        untrained = Potential.create(
            parent.architecture, {SOURCE: parent.references(SOURCE)}, seed=0, dtype=parent.dtype,
            targets={SOURCE: parent.target(SOURCE)},
        )  # fmt: skip
        arrays = {"values": np.array([f.labels[level].energy for f in frames])}
        arrays["groups"] = np.unique(kept_kinds(dataset, "formula")[indices], return_inverse=True)[
            1
        ]
        arrays["composition"] = np.array(
            [[(f.system.atomic_numbers == z).mean() for z in parent.elements] for f in frames]
        )
        for model, potential in (("parent", parent), ("untrained", untrained)):
            found = pooled_features(
                potential.double().at(SOURCE),
                dataset,
                indices,
                list(feature_blocks(potential.architecture)),
            )
            arrays[model] = found.rows
        said = predict(parent.at(SOURCE), dataset, indices, level)
        arrays["said"] = said.energy[np.argsort(said.indices), 1]
        if SOURCE in frames[0].labels:
            arrays["known"] = np.array([f.labels[SOURCE].energy for f in frames])
        np.savez(kept, **arrays)
    found = dict(np.load(kept))
    sizes = feature_blocks(parent.architecture)
    ends = dict(zip(sizes, np.cumsum(list(sizes.values())), strict=True))
    columns = {b: np.arange(ends[b] - sizes[b], ends[b]) for b in sizes}
    return Task(
        values=found["values"], composition=found["composition"], groups=found["groups"],
        features={
            m: {
                name: found[m][:, np.concatenate([columns[b] for b in blocks])]
                for name, blocks in BLOCKS.items()
            }
            for m in ("parent", "untrained")
        },
        said=found["said"], known=found.get("known"), elements=parent.elements,
    )  # fmt: skip


def step(known: np.ndarray) -> np.ndarray:
    """Columns of a line with a step at zero, as where a model is told a value."""
    return np.column_stack([known, known == 0])


def start(task: Task, train: np.ndarray, base: str) -> np.ndarray:
    """What strategies have at step 0, [n]: the composition beside nothing, the parent or a line."""
    below = np.zeros(len(task.values))
    if base == "parent":
        below = task.said
    elif base == "told":
        columns = np.column_stack([step(task.known), np.ones(len(below))])
        steps = 3 <= (task.known[train] == 0).sum() <= len(train) - 3
        columns = columns if steps else columns[:, [0, 2]]
        slopes = np.linalg.lstsq(columns[train], task.values[train], rcond=None)[0]
        below = columns[:, :-1] @ slopes[:-1]
    fit = fit_composition(task.composition[train], task.values[train] - below[train])
    return below + task.composition @ fit.shifts


def regress(
    kind: str, rows: np.ndarray, left: np.ndarray, train: np.ndarray, groups: np.ndarray,
    seed: int, weights: np.ndarray | None = None, moved: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """What a regressor adds, [n]; `moved` are the training rows to fit to in place of `rows`."""
    x = rows[train] if moved is None else moved
    counts = np.ones(len(train)) if weights is None else weights
    if kind == "forest":
        forest = RandomForestRegressor(
            200, min_samples_leaf=1, max_features=1 / 3, random_state=seed, n_jobs=1
        )
        return forest.fit(x, left[train], counts).predict(rows)
    spread = x.std(axis=0)
    scale = np.where(spread > 1e-9 * np.maximum(np.abs(x).max(axis=0), 1e-300), spread, np.inf)
    folds = assign_folds(groups[train], 5, seed)
    moments = [
        Moments.of(x[k] / scale, left[train][k], counts[k])
        for k in (folds == fold for fold in range(folds.max() + 1))
    ]
    return rows / scale @ fit_ridge(moments).weights


def drawn(task: Task, seed: int, n_test: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns shuffled structures to train with, and test structures of other formulas."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(task.groups.max() + 1)
    place = np.argsort(order)[task.groups]
    by_group = rng.permutation(len(place))
    by_group = by_group[np.argsort(place[by_group], kind="stable")]
    cut = n_test
    while task.groups[by_group[cut]] == task.groups[by_group[cut - 1]]:
        cut += 1
    return rng.permutation(by_group[cut:]), by_group[:cut]


def mae(found: np.ndarray, task: Task, test: np.ndarray) -> float:
    return float(np.abs(found - task.values)[test].mean())


def show(title: str, errors: dict, sizes: list) -> dict:
    """Prints mean and standard deviation over the seeds."""
    print(f"\n{title}\n| | " + " | ".join(str(n) for n in sizes) + " |")
    print("|---|" + "---|" * len(sizes))
    for name, by_size in errors.items():
        cells = [
            f"{np.mean(v):.3g} ± {np.std(v, ddof=1):.2g}" if (v := by_size.get(n)) else ""
            for n in sizes
        ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return {name: {str(n): v for n, v in by.items()} for name, by in errors.items()}


def hse06(arguments: argparse.Namespace) -> dict:
    every, found = read("gaps", "gap@hse06", arguments), {}
    for title, task, n_test in (
        ("HSE06 gaps, all: MAE in eV", every, 600),
        (
            "HSE06 gaps of non-metals (PBE gap above zero): MAE in eV",
            every.only(every.known > 0),
            400,
        ),
    ):
        sizes = [n for n in (30, 64, 100, 300, 1000, 3000) if n < len(task.values) - n_test]
        errors: dict = defaultdict(lambda: defaultdict(list))
        for seed in range(arguments.seeds):
            order, test = drawn(task, seed, n_test)
            for n in sizes:
                train = order[:n]
                line = np.polyfit(task.known[train], task.values[train], 1)
                begun = {base: start(task, train, base) for base in ("", "parent", "told")}
                rows = task.features["parent"]["layers"]
                said = {
                    "composition only": begun[""],
                    "step 0 (the parent's PBE gap, composition)": begun["parent"],
                    "a straight line on the PBE gap": np.polyval(line, task.known),
                    "told, step 0 (line, step at zero, composition)": begun["told"],
                }
                for kind in ("ridge", "forest"):
                    for name, base, x in (
                        (f"frozen-{kind}", "parent", rows),
                        (f"frozen-{kind}, told", "told", np.column_stack([rows, step(task.known)])),
                    ):
                        left = task.values - begun[base]
                        said[name] = begun[base] + regress(kind, x, left, train, task.groups, seed)
                for name, values in said.items():
                    errors[name][n].append(mae(values, task, test))
        found[title] = show(title, errors, sizes)
    return found


def properties(arguments: argparse.Namespace) -> dict:
    found, sizes = {}, [50, 124, 500]
    for name, level, unit in (
        ("heat_capacity", "heat@pbe", "J/mol/K per atom"),
        ("elastic", "bulk@pbe", "GPa"),
        ("elastic", "shear@pbe", "GPa"),
    ):
        task = read(name, level, arguments)
        errors: dict = defaultdict(lambda: defaultdict(list))
        for seed in range(arguments.seeds):
            order, test = drawn(task, seed, 300)
            for n in sizes:
                train = order[:n]
                begun = start(task, train, "")
                errors["mean"][n].append(
                    mae(np.full(len(begun), task.values[train].mean()), task, test)
                )
                errors["composition only"][n].append(mae(begun, task, test))
                for model in ("untrained", "parent"):
                    for kind in ("ridge", "forest"):
                        rows = task.features[model]["layers"]
                        left = task.values - begun
                        said = begun + regress(kind, rows, left, train, task.groups, seed)
                        errors[f"frozen-{kind}, {model}"][n].append(mae(said, task, test))
        title = f"{level} from PBE gaps: MAE in {unit}"
        found[title] = show(title, errors, sizes)
    return found


def shotgun(arguments: argparse.Namespace) -> dict:
    """Orders candidates by five folds of the labels, and by the test structures."""
    tasks = {
        "gap@hse06": ("gaps", 600), "heat@pbe": ("heat_capacity", 300),
        "bulk@pbe": ("elastic", 300), "shear@pbe": ("elastic", 300),
    }  # fmt: skip
    found = {}
    print("\nShotgun: order by folds beside order on test structures\n| | labels | Spearman |"
          " MAE of the first by folds | best of all |\n|---|---|---|---|---|")  # fmt: skip
    for level, (name, n_test) in tasks.items():
        task = read(name, level, arguments)
        for n in (50, 200):
            rows = []
            for seed in range(arguments.seeds):
                order, test = drawn(task, seed, n_test)
                train = order[:n]
                begun, by_folds, by_test = start(task, train, ""), [], []
                folds = assign_folds(task.groups[train], 5, seed)
                for of_blocks in task.features.values():
                    for x in of_blocks.values():
                        for kind in ("ridge", "forest"):
                            left_out = np.zeros(n)
                            for fold in range(folds.max() + 1):
                                part = train[folds != fold]
                                base = start(task, part, "")
                                said = base + regress(
                                    kind, x, task.values - base, part, task.groups, seed
                                )
                                left_out[folds == fold] = said[train[folds == fold]]
                            by_folds.append(np.abs(left_out - task.values[train]).mean())
                            said = begun + regress(
                                kind, x, task.values - begun, train, task.groups, seed
                            )
                            by_test.append(mae(said, task, test))
                first = by_test[int(np.argmin(by_folds))]
                rows.append((float(spearmanr(by_folds, by_test)[0]), first, min(by_test)))
            rank, first, best = np.mean(rows, axis=0)
            spread = np.std([r for r, *_ in rows], ddof=1)
            print(
                f"| {level} | {n} | {rank:.2f} ± {spread:.2f} | {first:.3g} | {best:.3g} |",
                flush=True,
            )
            found[f"{level} {n}"] = rows
    return found


def shift(arguments: argparse.Namespace) -> dict:
    """Labels that are not like the structures of the target domain."""
    found, n = {}, 300
    for level, name, unit in (("gap@hse06", "gaps", "eV"), ("bulk@pbe", "elastic", "GPa")):
        task = read(name, level, arguments)
        heavy = task.composition @ np.array(task.elements)
        heavy = (heavy - heavy.mean()) / heavy.std()
        oxygen = task.composition[:, task.elements.index(8)] > 0
        for kind_of_shift in ("a bias towards light elements, made by hand", "oxygen left out"):
            errors: dict = defaultdict(lambda: defaultdict(list))
            for seed in range(arguments.seeds):
                order, test = drawn(task, seed, 600)
                rng = np.random.default_rng([seed, 1])
                if kind_of_shift == "oxygen left out":
                    source, target = order[~oxygen[order]][:n], test[oxygen[test]]
                else:
                    kept = rng.uniform(size=len(order)) < np.exp(
                        -2.0 * np.maximum(heavy[order] + 1, 0)
                    )
                    source, target = order[kept][:n], test[heavy[test] > 0]
                begun = start(task, source, "")
                rows = task.features["parent"]["layers"]
                left = task.values - begun
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", tlpot.errors.TLPotWarning)
                    ratio = density_ratio(rows[source], rows[target], seed=seed)
                moved = aligned(rows[source], rows[target])
                errors["composition only"][n].append(mae(begun, task, target))
                for kind in ("ridge", "forest"):
                    for words, weights, fitted in (
                        ("off", None, None), ("weights", ratio.weights, None),
                        ("alignment", None, moved), ("both", ratio.weights, moved),
                    ):  # fmt: skip
                        said = begun + regress(
                            kind, rows, left, source, task.groups, seed, weights, fitted
                        )
                        errors[f"frozen-{kind}, {words}"][n].append(mae(said, task, target))
                errors["effective structures"][n].append(ratio.effective)
                errors["domains told apart (ROC area)"][n].append(ratio.told_apart)
            title = f"{level}, {kind_of_shift}: MAE in {unit}"
            found[title] = show(title, errors, [n])
            print_differences(errors, n)
    return found


def print_differences(errors: dict, n: int) -> None:
    """Prints what weights and alignment change, seed by seed, with 95 % (Student's t)."""
    for kind in ("ridge", "forest"):
        for words in ("weights", "alignment", "both"):
            changes = np.subtract(
                errors[f"frozen-{kind}, {words}"][n], errors[f"frozen-{kind}, off"][n]
            )
            mean, count = changes.mean(), len(changes)
            half = t.ppf(0.975, count - 1) * changes.std(ddof=1) / np.sqrt(count)
            print(
                f"frozen-{kind}, {words} less off, {count} seeds: {mean:+.3g} "
                f"({mean - half:+.3g} to {mean + half:+.3g})",
                flush=True,
            )


TABLES = {"hse06": hse06, "shift": shift, "properties": properties, "shotgun": shotgun}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=(*TABLES, "all"))
    parser.add_argument("--data", default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data, or TLPOT_DATA, is needed")
    for name in TABLES if arguments.what == "all" else [arguments.what]:
        found = TABLES[name](arguments)
        (arguments.out / f"frozen-{name}.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
