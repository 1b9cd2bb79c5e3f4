"""Coupled cluster from a few labels on top of several parents; molecules that have none test it.

    python benchmarks/peptides/coupled_cluster.py FOLDER tlpot-tiny tlpot-peptides@aimnet2
        [--sizes 48 0] [--draws 10] [--strategies full head frozen-ridge]

The labels are those of the demo (tlpot-qm), five molecules are held out, and a fifth of the labels
decides which weights are kept; a size of 0 is all labels, less 110 for that. FOLDER keeps every
error, and the same command goes on. The parents have seen cheap labels of all these molecules, or
of their kin.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from tlpot.jobs import finetune, finetune_config
from tlpot.jobs.demo import DATA, EPOCHS, HELD_OUT, LEVEL


def errors(parent, strategy, size, seed, output):
    """Returns the error of all held-out frames before and after, and of each molecule, meV."""
    name, _, source = parent.partition("@")
    split = {"by": "random", "test": list(HELD_OUT), "validation": size // 5 or 110, "seed": seed}
    training = {"seed": seed, "epochs": EPOCHS, "batch_size": 8, "validate_every": 10}
    outcome = finetune(
        finetune_config(
            {
                "parent": name,
                "data": {"files": [str(DATA)]},
                "level": LEVEL,
                "source": source or None,
                "strategy": strategy,
                "output": str(output),
                "split": {**split, **({"train": size - size // 5} if size else {})},
                "training": {"seed": seed} if strategy.startswith("frozen-") else training,
                "report": {"enabled": False},
            }
        ),
        overwrite=True,
        show=False,
    )
    molecules = {name: row["energy_mae"] for name, row in outcome.end.by_molecule.items()}
    return outcome.start.overall["energy_mae"], outcome.end.overall["energy_mae"], molecules


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("parents", nargs="+", help="NAME or NAME@LEVEL")
    parser.add_argument("--sizes", nargs="+", type=int, default=[48])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--strategies", nargs="+", default=["full", "head", "frozen-ridge"])
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    journal = a.folder / "errors.json"
    known = json.loads(journal.read_text()) if journal.exists() else {}
    print(f"{'MAE, meV':30}{'labels':>7}" + "".join(f"{s:>16}" for s in ("shift", *a.strategies)))
    for parent in a.parents:
        for size in a.sizes:
            row, molecules = {}, {}
            for strategy in a.strategies:
                for seed in range(a.draws):
                    key = f"{parent} {strategy} {size} {seed}"
                    if key not in known:
                        output = a.folder / "m.safetensors"
                        known[key] = errors(parent, strategy, size, seed, output)
                        journal.write_text(json.dumps(known, indent=1))
                    start, end, by_molecule = known[key]
                    row.setdefault("shift", {})[seed] = start
                    row.setdefault(strategy, {})[seed] = end
                    molecules.setdefault(strategy, []).append(by_molecule)
            cells = [list(row[s].values()) for s in ("shift", *a.strategies)]
            print(f"{parent:30}{size or 'all':>7}"
                  + "".join(f"{np.mean(c):>10.1f} ± {np.std(c):3.1f}" for c in cells))  # fmt: skip
            for name in HELD_OUT:
                found = [np.mean([m[name] for m in molecules[s]]) for s in a.strategies]
                print(f"  {name:51}" + "".join(f"{x:>16.1f}" for x in found))


if __name__ == "__main__":
    main()
