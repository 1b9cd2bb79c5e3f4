"""AdamW beside SOAP: python benchmarks/transfer/optimizers.py --data DIR --cases peptides.

Trains cases of `default_cases.py` with each optimizer at several peak rates, otherwise by the
defaults, with the same seeds and numbers of updates; prints errors on frames that neither the
training nor the choice of the weights has seen, and the seconds of a training in turns on one
core. Results are kept in OUT/results.jsonl; a run that was stopped goes on. DIR is that of
`defaults.py`.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from default_cases import CASES
from defaults import KINDS, data_of, parent_of, with_data
from tqdm import tqdm

from tlpot.jobs import finetune, finetune_config, train_config, train_from_scratch
from tlpot.numbers import counted

FACTORS = {"adamw": (0.3, 1.0, 3.0), "soap": (1.0, 3.0, 10.0)}
"""Of the peak rate that is AdamW's default: 0.01 from scratch, 0.002 from a parent."""


def run(name: str, optimizer: str, factor: float, seed: int, out: Path) -> dict[str, Any]:
    """Trains once; returns errors at step 0 and at the end, and seconds."""
    case = CASES[name]
    rate = factor * (0.01 if case.parent is None else 0.002)
    training = {**case.training, "optimizer": optimizer, "learning_rate": rate, "seed": seed}
    settings = {
        "data": data_of(case, out),
        "level": case.level,
        "output": str(out / "model.safetensors"),
        "split": {**case.split, "seed": seed},
        "training": training,
    }
    if case.parent is None:
        outcome = train_from_scratch(train_config(settings), show=False, overwrite=True)
    else:
        settings |= {"parent": parent_of(case, out), "strategy": {"name": "full"}}
        outcome = finetune(finetune_config(settings), show=False, overwrite=True)
    assert outcome.part == "test"
    return {
        "start": {k: outcome.start.overall[k] for k in KINDS if k in outcome.start.overall},
        "end": {k: outcome.end.overall[k] for k in KINDS if k in outcome.end.overall},
        "seconds": round(outcome.training.seconds, 1),
    }


def table(results: Mapping[tuple[str, str, float, int], Mapping[str, Any]]) -> str:
    """Returns errors by case, optimizer and factor: mean over the seeds ± their spread."""
    lines = []
    for name in CASES:
        rows: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
        for (case, optimizer, factor, _), result in results.items():
            if case == name:
                rows.setdefault((optimizer, factor), []).append(result)
        if not rows:
            continue
        start = next(iter(rows.values()))[0]["start"]
        shown = ", ".join(f"{k} {value:.4g}" for k, value in start.items())
        lines += ["", f"{name}: step 0 {shown} (meV, meV/Å)"]
        for (optimizer, factor), found in sorted(rows.items()):
            cells = []
            for kind in KINDS:
                if kind in start:
                    values = [result["end"][kind] for result in found]
                    spread = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
                    cells.append(f"{kind} {np.mean(values):.4g}{spread}")
            seconds = np.mean([result["seconds"] for result in found])
            cells.append(f"{seconds:.0f} s, {counted(len(found), 'seed')}")
            lines.append(f"  {optimizer:6} rate x {factor:<5g}" + "  ".join(cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/optimizers"))
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    names = with_data(options.cases, options.data, options.out)
    record = options.out / "results.jsonl"
    results: dict[tuple[str, str, float, int], Mapping[str, Any]] = {}
    if record.exists():
        for line in record.read_text().splitlines():
            entry = json.loads(line)
            case_name, optimizer, factor, seed = entry.pop("point")
            results[case_name, optimizer, factor, seed] = entry
    todo = [
        (name, optimizer, factor, seed)
        for seed in range(options.seeds)
        for name in names
        for optimizer, factors in FACTORS.items()
        for factor in factors
    ]
    for point in tqdm([p for p in todo if p not in results], mininterval=60):
        results[point] = run(*point, options.out)
        with record.open("a") as handle:
            handle.write(json.dumps({"point": point, **results[point]}) + "\n")
    print(table({p: r for p, r in results.items() if p[0] in names}))


if __name__ == "__main__":
    main()
