"""What the default training is worth: python benchmarks/transfer/defaults.py --data DIR.

Trains every case of `default_cases.py` at each point of a grid of loss weights, the defaults of
tlpot among them, and every other strategy with the defaults; prints errors at step 0 and at the
end on frames that neither the training nor the choice of the weights has seen, mean over the
seeds, and whether the defaults hold what is asked of them: no kind of error above step 0, each
within 1.5 times of its best value at any point of the grid. Results are kept in OUT/results.jsonl;
a run that was stopped goes on. DIR holds vpt2-tl/, acac/ and teachers/peptides/ (sources in
`default_cases.py`); cases whose data is missing are named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from default_cases import CASES, Case
from tqdm import tqdm

from tlpot.errors import TLPotError
from tlpot.jobs import finetune, finetune_config, train_config, train_from_scratch

DEFAULT = "default"
GRID: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {},
    "0.1": {"energy": 0.1, "energy_end": 0.1},
    "1": {"energy": 1.0, "energy_end": 1.0},
    "10": {"energy": 10.0, "energy_end": 10.0},
    "100": {"energy": 100.0, "energy_end": 100.0},
    "0.1 to 100": {"energy": 0.1, "energy_end": 100.0},
    "10 to 100": {"energy": 10.0, "energy_end": 100.0},
}
"""Weight of the energy, that of the forces being 1; 0.1 throughout was the default before."""
OTHERS = ("scratch", "head", "lora", "replay", "multihead", "delta")
CONFIRMED = ("h2co 10", "acac 10", "mixed 36", "demo 48")
"""Cases for the other strategies."""
KINDS = ("energy_mae", "forces_mae")
TOLERANCE = 1.5


@dataclass(frozen=True, kw_only=True)
class Point:
    """One training."""

    case: str
    strategy: str
    weights: str
    seed: int


def points(names: list[str], seeds: int) -> Iterator[Point]:
    """Yields what is to be trained, the first seed of everything before the second."""
    for seed in range(seeds):
        for name in names:
            for weights in GRID:
                if weights == DEFAULT or CASES[name].has_forces:
                    yield Point(case=name, strategy="full", weights=weights, seed=seed)
            for strategy in OTHERS if name in CONFIRMED else ():
                yield Point(case=name, strategy=strategy, weights=DEFAULT, seed=seed)


def parent_of(case: Case, out: Path) -> str:
    """Returns the parent, which is trained if need be."""
    path = out / f"{case.parent}.safetensors"
    if not case.pretraining:
        return str(case.parent)
    if not path.exists():
        settings = {"data": data_of(case, out), "output": str(path), **case.pretraining}
        print(f"training {path.name}", flush=True)
        outcome = train_from_scratch(train_config(settings), show=False, overwrite=True)
        print(outcome.end.text(), flush=True)
    return str(path)


def run(point: Point, out: Path) -> dict[str, Any]:
    """Trains one point; returns errors at step 0 and at the end on the test frames."""
    case = CASES[point.case]
    settings = {
        "data": data_of(case, out),
        "level": case.level,
        "output": str(out / "model.safetensors"),
        "split": {**case.split, "seed": point.seed},
        "training": {**case.training, "loss": dict(GRID[point.weights]), "seed": point.seed},
    }
    if case.parent is None:
        outcome = train_from_scratch(train_config(settings), show=False, overwrite=True)
    else:
        strategy: dict[str, Any] = {"name": point.strategy}
        if point.strategy == "multihead":
            strategy["levels"] = [case.low]
        settings |= {"parent": parent_of(case, out), "strategy": strategy}
        outcome = finetune(finetune_config(settings), show=False, overwrite=True)
    assert outcome.part == "test"
    return {
        "start": {k: outcome.start.overall[k] for k in KINDS if k in outcome.start.overall},
        "end": {k: outcome.end.overall[k] for k in KINDS if k in outcome.end.overall},
        "epoch": outcome.training.best_epoch,
        "seconds": round(outcome.training.seconds, 1),
    }


def data_of(case: Case, out: Path) -> dict[str, Any]:
    """Returns the section `data` of a case."""
    return {"files": [str(out / case.data)], **case.settings}


def with_data(cases: Sequence[str], data: Path | None, out: Path) -> list[str]:
    """Writes the data of cases; returns those that have it, and names the others."""
    names = []
    for name in cases:
        case, path = CASES[name], out / CASES[name].data
        if case.write is not None and not path.exists():
            try:
                case.write(Path(data or ""), path)
            except (OSError, TLPotError) as error:
                print(f"{name}: no data ({error})")
                continue
        names.append(name)
    return names


def table(results: Mapping[Point, Mapping[str, Any]]) -> str:
    """Returns errors by case and point, and what the defaults hold."""
    lines, failures = [], []
    for name in CASES:
        rows = _means(results, name)
        if not rows:
            continue
        lines += ["", f"{name}: E MAE (meV), F MAE (meV/Å)"]
        for (strategy, weights), (start, end, seeds) in rows.items():
            label = f"{strategy}, {weights}"
            cells = "  ".join(
                f"{start[k]:8.4g} -> {end[k]:8.4g}{'' if end[k] <= start[k] else ' WORSE'}"
                for k in KINDS
                if k in end
            )
            lines.append(f"  {label:24}{cells}  ({seeds} seeds)")
        grid = {w: row for (s, w), row in rows.items() if s == "full"}
        if DEFAULT in grid:
            failures += _failures(name, grid)
        for (strategy, _), (start, end, _n) in rows.items():
            failures += [
                f"{name}, {strategy}: {k} {start[k]:.4g} -> {end[k]:.4g}"
                for k in KINDS
                if strategy != "full" and k in end and end[k] > start[k]
            ]
    lines += ["", *(f"NOT HELD: {text}" for text in failures)] if failures else ["", "all held"]
    return "\n".join(lines)


def _failures(name: str, grid: Mapping[str, Any]) -> list[str]:
    start, end, _ = grid[DEFAULT]
    found = []
    for kind in end:
        best = min(row[1][kind] for row in grid.values())
        if end[kind] > start[kind]:
            found.append(f"{name}: {kind} {start[kind]:.4g} -> {end[kind]:.4g}")
        if end[kind] > TOLERANCE * best:
            found.append(f"{name}: {kind} {end[kind]:.4g}, {end[kind] / best:.2f} times the best")
    return found


def _means(results: Mapping[Point, Mapping[str, Any]], name: str) -> dict[tuple[str, str], Any]:
    rows: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for point, result in results.items():
        if point.case == name:
            rows.setdefault((point.strategy, point.weights), []).append(result)
    return {
        key: (
            {k: float(np.mean([r["start"][k] for r in found])) for k in found[0]["start"]},
            {k: float(np.mean([r["end"][k] for r in found])) for k in found[0]["end"]},
            len(found),
        )
        for key, found in rows.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/defaults"))
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    names = with_data(options.cases, options.data, options.out)
    record = options.out / "results.jsonl"
    results: dict[Point, Mapping[str, Any]] = {}
    if record.exists():
        for line in record.read_text().splitlines():
            entry = json.loads(line)
            results[Point(**entry.pop("point"))] = entry
    todo = [p for p in points(names, options.seeds) if p not in results]
    for point in tqdm(todo, mininterval=60):
        result = run(point, options.out)
        results[point] = result
        with record.open("a") as handle:
            handle.write(json.dumps({"point": vars(point), **result}) + "\n")
    print(table({p: r for p, r in results.items() if p.case in options.cases}))


if __name__ == "__main__":
    main()
