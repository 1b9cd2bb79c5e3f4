"""Gaps of crystals, PBE to HSE06: a parent, and what it saves in dear labels.

    python benchmarks/properties/gaps.py parent --data DIR --out DIR
    python benchmarks/properties/gaps.py hse06 --data DIR --out DIR [--non-metals] [--sizes 30 ...]
    python benchmarks/properties/gaps.py both --data DIR --out DIR

``both`` trains parents on 1,000, 3,000 and 10,000 PBE gaps, measures HSE06 from each, and divides
a budget between the two (CGAT, doi:10.1039/d3dd00030c, figures 3 to 5).

``--data`` (or TLPOT_DATA) holds ``properties/gaps.extxyz.xz``: 16,082 structures of the Materials
Project with the gaps of materialsvirtuallab/megnet at f3705760 (BSD-3), as extended XYZ. Splits are
by formula. The parent learns PBE gaps of 10,000 structures, among which may be structures of the
HSE06 test set, whose PBE gap it then knows: as one would who transfers from one level to another.
"""

import argparse
import lzma
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import tlpot

SPEC = str(Path(__file__).with_name("gaps.yaml"))
STRATEGIES = {
    "scratch": "scratch",
    "head": "head",
    "full": "full",
    "frozen-ridge": "frozen-ridge",
    "frozen-forest": "frozen-forest",
    "delta": {"name": "delta", "low": "gap@pbe"},
    **{
        f"{name}+pbe": {"name": name, "known": "gap@pbe"}
        for name in ("shift", "scratch", "full", "frozen-ridge", "frozen-gp", "frozen-forest")
    },
}


CHEAP = {1_000: 32, 3_000: 16, 10_000: 8}
"""Labels of the parents of `both`, and epochs."""
RATIOS = (3, 30)
"""What an HSE06 gap costs, in PBE gaps."""


def data(folder: str) -> dict[str, object]:
    return {"files": [str(Path(folder) / "properties" / "gaps.extxyz.xz")], "spec": SPEC}


def non_metals(folder: str, out: Path) -> Path:
    """Writes the structures whose PBE gap is not zero, once."""
    chosen = out / "non-metals.extxyz"
    if not chosen.exists():
        with lzma.open(Path(folder) / "properties" / "gaps.extxyz.xz", "rt") as lines:
            kept = []
            for head in lines:
                frame = [head, *(next(lines) for _ in range(int(head) + 1))]
                if float(frame[1].split("gap_pbe=")[1].split()[0]) > 0:
                    kept += frame
        chosen.write_text("".join(kept))
    return chosen


def trained(arguments: argparse.Namespace, name: str, size: int, epochs: int) -> Path:
    """Trains on PBE gaps of so many structures, once; goes on where it was stopped."""
    target = arguments.out / f"{name}.safetensors"
    run = target.with_suffix(".run")
    if not (run / "report.json").exists():
        found = tlpot.train(
            config={
                "data": data(arguments.data),
                "model": {"preset": "crystal"},
                "split": {"train": size, "validation": 600, "test": 1500, "seed": 0},
                "training": {"batch_size": 32, "validate_every": 2},
            },
            level="gap@pbe", epochs=epochs, output=target, name=f"gap-{name}",
            licence="CC-BY-4.0", resume=(run / "checkpoint.safetensors").exists(),
        )  # fmt: skip
        print(found, flush=True)
    return target


def parent(arguments: argparse.Namespace) -> None:
    """Trains on PBE gaps of 10,000 structures."""
    trained(arguments, "pbe", 10_000, 12)


def both(arguments: argparse.Namespace) -> None:
    """Measures how errors fall with either number of labels, and divides a budget."""
    parents = [trained(arguments, f"pbe-{n}", n, epochs) for n, epochs in CHEAP.items()]
    measured = tlpot.learning_curve(
        parents,
        tlpot.open_dataset(Path(arguments.data) / "properties" / "gaps.extxyz.xz", SPEC),
        config={"split": {"validation": 100, "test": 600, "seed": 1}, "updates": 300},
        level="gap@hse06", strategies=["full", "scratch"], sizes=arguments.sizes,
        seeds=arguments.seeds, output=arguments.out / "both",
    )  # fmt: skip
    print(measured)
    for ratio in RATIOS:
        print(
            tlpot.plan(measured, budget=arguments.budget, cost_ratio=ratio, quantity="property_mae")
        )


def hse06(arguments: argparse.Namespace) -> None:
    """Measures learning curves; what is in the folder already is not repeated."""
    file = Path(arguments.data) / "properties" / "gaps.extxyz.xz"
    if arguments.non_metals:
        file = non_metals(arguments.data, arguments.out)
    found = tlpot.learning_curve(
        arguments.out / "pbe.safetensors",
        tlpot.open_dataset(file, SPEC),  # once for all points
        config={
            "split": {"validation": 100, "test": 400 if arguments.non_metals else 600, "seed": 1},
            "updates": 300,
        },
        level="gap@hse06", strategies=[STRATEGIES[name] for name in arguments.strategies],
        sizes=arguments.sizes, seeds=arguments.seeds,
        output=arguments.out / ("hse06-non-metals" if arguments.non_metals else "hse06"),
    )  # fmt: skip
    print(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("parent", "hse06", "both"))
    parser.add_argument("--data", default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[30, 100, 300, 1000, 3000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--non-metals", action="store_true", help="PBE gap above zero")
    parser.add_argument("--budget", type=float, default=30_000, help="of `both`, in PBE gaps")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data, or TLPOT_DATA, is needed")
    arguments.out.mkdir(parents=True, exist_ok=True)
    {"parent": parent, "hse06": hse06, "both": both}[arguments.what](arguments)


if __name__ == "__main__":
    main()
