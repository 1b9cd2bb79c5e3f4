"""Relative energies of conformers at DLPNO-CCSD(T) from parents of cheaper levels (row P2).

    python conformers.py data --source conformers_dlpno_train.h5 --aimnet2 FILE.jpt --out DIR
    python conformers.py run --parent MODEL --out DIR [--rows NAME ...] [--updates 2000]
    python conformers.py table --parent MODEL --out DIR

``table`` adds what needs no training: the teachers and the parent's levels as they are, linear
blends of them, and ridge regressions of what a blend leaves over on the parent's features (summed
over the atoms of each element), all fitted to the same folds.

Neutral molecules of H, C, N, O: five folds by molecule, each tested once by models that have seen
none of its coupled-cluster energies. The levels of a parent may have been learned on other
geometries of these molecules. Errors are of energies less the mean of their molecule. Each row
of ``run`` is kept and not run again.

Data: Folmsbee and Hutchison, doi:10.1002/qua.26381; ghutchis/conformer-benchmark (MIT).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import h5py
import numpy as np
import torch
from ase.units import kcal, mol
from numpy.typing import NDArray

import tlpot
from tlpot.data import Dataset, open_dataset
from tlpot.evaluation import predict
from tlpot.files import atomic_file
from tlpot.graph import build_graph
from tlpot.levels import difference_level
from tlpot.models import load

CC, GFN2, ANI, B97, AIMNET2 = (
    "dlpno-ccsd(t)/cc-pvtz", "gfn2-xtb(atomization)", "ani-1ccx", "b97-3c", "aimnet2",
)  # fmt: skip
COLUMNS = {
    CC: "dlpno_ccsdt_ccpvtz", GFN2: "gfn2-xtb_minus_atomization", ANI: "ani1ccx_model",
    B97: "b97-3c",
}  # fmt: skip
BLEND = "blend gfn2-xtb + ani-1ccx"
ELEMENTS = (1, 6, 7, 8)
STRENGTHS = (1.0, 1e1, 1e2, 1e3, 1e4, 1e5)
FOLDS = 5
RELATIVE = {"loss": {"energy": 0, "relative": 1}}


def _finetuned(
    source: str | None, strategy: Any, training: Mapping[str, Any]
) -> Callable[..., Any]:
    def run(parent: str, data: Path, split: Mapping[str, Any], output: Path, updates: int) -> None:
        # four fifths of the frames, less those that choose
        batches = 1700 * 0.9 / 16
        tlpot.finetune(
            parent, data, level=CC, source=source, strategy=strategy, output=output, split=split,
            epochs=max(round(updates / batches), 1), training={"batch_size": 16, **training},
            overwrite=True, report={"enabled": False},
        )  # fmt: skip

    return run


ROWS: Mapping[str, Callable[..., Any]] = {
    "full from aimnet2, total energies": _finetuned(AIMNET2, "full", {}),
    "full from aimnet2, relative": _finetuned(AIMNET2, "full", RELATIVE),
    "full from ani-1ccx, relative": _finetuned(ANI, "full", RELATIVE),
    "head from aimnet2, relative": _finetuned(AIMNET2, "head", RELATIVE),
    "delta on our aimnet2, relative": _finetuned(AIMNET2, "delta", RELATIVE),
    "delta on aimnet2, relative": _finetuned(AIMNET2, {"name": "delta", "low": AIMNET2}, RELATIVE),
    "delta on gfn2-xtb, relative": _finetuned(AIMNET2, {"name": "delta", "low": GFN2}, RELATIVE),
}


def write_data(source: Path, aimnet2: Path, out: Path) -> None:
    """Writes the conformers at all levels in tlpot's own layout."""
    path = out / "conformers.h5"
    with h5py.File(source) as file:
        offsets, numbers = file["offsets"][()], file["numbers"][()]
        positions, charges = file["positions"][()].astype(float), file["charge"][()]
        names = [name.decode().partition("/")[0] for name in file["name"][()]]
        energies = {level: file[f"energy/{key}"][()] for level, key in COLUMNS.items()}
    chosen: dict[tuple[str, bytes], list[int]] = {}
    for k, name in enumerate(names):
        atoms = numbers[offsets[k] : offsets[k + 1]]
        complete = all(np.isfinite(energies[level][k]) for level in (CC, GFN2, ANI))
        if charges[k] == 0 and complete and set(atoms) <= {1, 6, 7, 8}:
            chosen.setdefault((name, atoms.tobytes()), []).append(k)
    with atomic_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["levels"] = json.dumps({_key(level): level for level in COLUMNS})
        file.attrs["units"] = json.dumps({"coordinates": "angstrom", "energy": "hartree"})
        for (name, _), frames in chosen.items():
            if len(frames) > 1 and name not in file:
                group = file.create_group(name)
                first = frames[0]
                group["atomic_numbers"] = numbers[offsets[first] : offsets[first + 1]]
                group["coordinates"] = [positions[offsets[k] : offsets[k + 1]] for k in frames]
                for level in COLUMNS:
                    group[f"{_key(level)}.energy"] = energies[level][frames]
    print(tlpot.label(path, f"torch:{aimnet2}", path, forces="no"))


def _key(level: str) -> str:
    return level.replace("/", "_")


def fold(dataset: Dataset, k: int) -> tuple[list[str], list[str]]:
    """Returns the names of the molecules that are tested, and of those that choose the weights."""
    order = np.random.default_rng(0).permutation(len(dataset.group_names))
    parts = np.array_split(order, FOLDS)
    others = np.concatenate([part for j, part in enumerate(parts) if j != k])
    return [dataset.group_names[j] for j in parts[k]], [
        dataset.group_names[j] for j in others[: len(others) // 10]
    ]


def run_row(name: str, parent: str, out: Path, updates: int) -> None:
    """Fine-tunes on each fold's training molecules and keeps the energies of its test molecules."""
    data, folder = out / "conformers.h5", out / Path(parent).stem / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset(data)
    for k in range(FOLDS):
        result = folder / f"{k}.json"
        if result.exists():
            continue
        test, validation = fold(dataset, k)
        output = folder / f"{k}.safetensors"
        ROWS[name](
            parent, data, {"by": "molecule", "test": test, "validation": validation}, output,
            updates,
        )  # fmt: skip
        model = load(output, device="cpu")
        frames = np.flatnonzero(np.isin(dataset.group_idx, _indices(dataset, test)))
        energies = _predicted(model, dataset, frames, model.levels[-1])
        for low in (GFN2, AIMNET2):
            if model.levels == (difference_level(CC, low),):
                energies = energies + _labels(dataset, frames, low)
        with atomic_file(result) as temporary:
            content = dict(zip(frames.tolist(), energies.tolist(), strict=True))
            temporary.write_text(json.dumps(content))


def table(parent: str, out: Path) -> None:
    """Prints the errors of all rows that there are, with intervals over molecules."""
    dataset = open_dataset(out / "conformers.h5")
    frames = np.arange(len(dataset))
    label, groups = _labels(dataset, frames, CC), dataset.group_idx
    found = {
        f"{level} itself": _labels(dataset, frames, level) for level in (GFN2, ANI, AIMNET2, B97)
    }
    model = load(parent, device="cpu")
    ours = {f"our {level}": _predicted(model, dataset, frames, level) for level in model.levels}
    for name, energies in ours.items():
        found[f"{name}, as it is"] = energies
    teachers = {level: found[f"{level} itself"] for level in (GFN2, ANI, AIMNET2)}
    features = _features(model, dataset)
    for names in ((GFN2, ANI), (GFN2, AIMNET2), (GFN2, ANI, AIMNET2), (GFN2,), tuple(ours)):
        values = np.stack([{**teachers, **ours}[name] for name in names], axis=1)
        words = " + ".join(name.partition("(")[0] for name in names)
        found[f"blend {words}"] = _fitted(dataset, label, values, None)
        found[f"blend {words}, ridge"] = _fitted(dataset, label, values, features)
    blend = found[BLEND]
    for name in ROWS:
        results = sorted((out / Path(parent).stem / name.replace(" ", "-")).glob("*.json"))
        energies = np.full(len(frames), np.nan)
        for result in results:
            for index, energy in json.loads(result.read_text()).items():
                energies[int(index)] = energy
        if results:
            found[f"{name} ({len(results)} of {FOLDS} folds)"] = energies
        if 0 < len(results) < FOLDS:
            for low in (GFN2, AIMNET2):
                same = np.where(np.isfinite(energies), found[f"{low} itself"], np.nan)
                found[f"  {low} itself on these"] = same
    print(f"{len(frames)} conformers of {len(dataset.group_names)} molecules; mean-centred MAE, "
          "kcal/mol; less that of the blend, 95 % over molecules")  # fmt: skip
    reference = _errors(blend, label, groups)
    for name, energies in found.items():
        errors = _errors(energies, label, groups)
        low, high = _interval(errors - reference, groups)
        print(f"  {name:52} {np.nanmean(errors):.3f}   {low:+.3f} to {high:+.3f}")


def _features(model: Any, dataset: Dataset) -> NDArray[np.float64]:
    """Returns the network's invariants, summed over the atoms of each element, [n, n_features]."""
    at_level, rows = model.at(model.levels[0]), []
    for start in range(0, len(dataset), 16):
        systems = [
            frame.system for frame in dataset.read(range(start, min(start + 16, len(dataset))), [])
        ]
        graph = build_graph(systems, model.cutoff, layout=model.layout)
        with torch.no_grad():
            _, scalars, _ = at_level.invariants(graph)
        atoms = torch.cat([s.reshape(len(s), -1) for s in scalars], dim=1).double()
        sums = torch.zeros(len(systems), len(ELEMENTS), atoms.shape[1], dtype=torch.float64)
        for k, z in enumerate(ELEMENTS):
            own = graph.atomic_numbers == z
            sums[:, k].index_add_(0, graph.system_idx[own], atoms[own])
        rows.append(sums.flatten(1).numpy())
    return np.concatenate(rows)


def _fitted(
    dataset: Dataset,
    label: NDArray[np.float64],
    values: NDArray[np.float64],
    features: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Returns out-of-fold energies of a blend, and of a ridge on what it leaves over.

    The ridge's strength is chosen by four parts of the training molecules.
    """
    groups = dataset.group_idx
    y = _centred(label, groups)
    blend = np.stack([_centred(column, groups) for column in values.T], axis=1)
    x = np.zeros((len(y), 0))
    if features is not None:
        x = np.stack([_centred(column, groups) for column in features.T], axis=1)
        x /= x.std(axis=0) + 1e-12

    def predicted(
        train: NDArray[np.bool_], test: NDArray[np.bool_], strength: float
    ) -> NDArray[np.float64]:
        weights = np.linalg.lstsq(blend[train], y[train], rcond=None)[0]
        rest = y[train] - blend[train] @ weights
        square = x[train].T @ x[train] + strength * np.eye(x.shape[1])
        return blend[test] @ weights + x[test] @ np.linalg.solve(square, x[train].T @ rest)

    result = np.full(len(y), np.nan)
    for k in range(FOLDS):
        test = np.isin(groups, _indices(dataset, fold(dataset, k)[0]))
        molecules = np.random.default_rng(k).permutation(np.unique(groups[~test]))
        strength = STRENGTHS[0]
        if features is not None:
            errors = []
            for tried in STRENGTHS:
                inner = [np.isin(groups, part) for part in np.array_split(molecules, 4)]
                wrong = [
                    np.abs(y[part] - predicted(~test & ~part, part, tried)).sum() for part in inner
                ]
                errors.append(sum(wrong))
            strength = STRENGTHS[int(np.argmin(errors))]
        result[test] = predicted(~test, test, strength)
    return result


def _errors(
    energies: NDArray[np.float64], label: NDArray[np.float64], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    return np.abs(_centred(energies - label, groups)) / (kcal / mol)


def _centred(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    n = groups.max() + 1
    counts = np.bincount(groups[known], minlength=n)
    means = np.bincount(groups[known], values[known], n) / np.maximum(counts, 1)
    return np.where(counts[groups] > 1, values - means[groups], np.nan)


def _interval(values: NDArray[np.float64], groups: NDArray[np.int64]) -> tuple[float, float]:
    """Bootstrap over molecules, whose conformers are not independent."""
    known = np.isfinite(values)
    n = groups.max() + 1
    sums = np.bincount(groups[known], values[known], n)
    counts = np.bincount(groups[known], minlength=n)
    draws = np.random.default_rng(0).integers(0, n, (2000, n))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _indices(dataset: Dataset, names: list[str]) -> list[int]:
    return [list(dataset.group_names).index(name) for name in names]


def _labels(dataset: Dataset, frames: NDArray[np.int64], level: str) -> NDArray[np.float64]:
    return np.array([frame.labels[level].energy for frame in dataset.read(frames, [level])])


def _predicted(
    model: Any, dataset: Dataset, frames: NDArray[np.int64], level: str
) -> NDArray[np.float64]:
    """Energies of a level, whatever the frames have labels of."""
    found = predict(model.at(level), dataset, frames, CC, forces=False)
    energies = dict(zip(found.indices.tolist(), found.energy[:, 1].tolist(), strict=True))
    return np.array([energies[int(k)] for k in frames])


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    data = steps.add_parser("data")
    data.add_argument("--source", type=Path, required=True)
    data.add_argument("--aimnet2", type=Path, required=True)
    run = steps.add_parser("run")
    run.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    run.add_argument("--updates", type=int, default=2000)
    for step in (run, steps.add_parser("table")):
        step.add_argument("--parent", required=True)
    for step in steps.choices.values():
        step.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.step == "data":
        write_data(given.source, given.aimnet2, given.out)
    elif given.step == "run":
        for name in given.rows:
            run_row(name, given.parent, given.out, given.updates)
    else:
        table(given.parent, given.out)


if __name__ == "__main__":
    main()
