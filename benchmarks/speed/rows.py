"""Speed beside the peers, one row of the table at a time: python benchmarks/speed/rows.py R1.

R1  training, 5 x 27 atoms (3BPA), against mace-torch of the same irreps, l_max and cutoff
R2  energy and forces of 27 atoms through the ASE calculator, against mace-torch
R3  the same against one TorchANI network of ANI-2x shape
R4  energies and forces of 64 x 27 atoms in one batch

R5 is calculator_overhead.py and R6 is scaling.py. The peers need an environment of their own
(mace-torch wants e3nn 0.4.4)::

    python -m venv peers
    peers/bin/pip install torch mace-torch==0.3.16 torchani==2.9.0
    python benchmarks/speed/rows.py R1 --data DIR --peer-python peers/bin/python

DIR holds 3bpa/train_300K.xyz, which is public: https://github.com/davkovacs/BOTNet-datasets.
All weights are random: only the time counts. Everything is float32.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from contest import Contestant, check_idle, processor, race, show

CUTOFF = 5.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("row", choices=["R1", "R2", "R3", "R4"])
    parser.add_argument("--data", default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--peer-python", help="python of the peers' environment")
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--l-max", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--busy", action="store_true", help="race on a busy machine, too")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if not options.data or (options.row != "R4" and not options.peer_python):
        raise SystemExit("name the data (--data) and the peers' python (--peer-python)")
    print(f"{options.row}, {processor()}, {options.repeats} repeats")
    check_idle()
    row = {"R1": training, "R2": latency, "R3": torchani, "R4": batches}[options.row]
    for threads in options.threads:
        row(options, {
            "threads": threads,
            "frames": str(Path(options.data) / "3bpa" / "train_300K.xyz"),
        })  # fmt: skip


def ours(name: str, settings: dict, **more) -> Contestant:
    return Contestant.start(f"tlpot {name}", "work_tlpot.py", sys.executable, **settings, **more)


def matched(options: argparse.Namespace, settings: dict, l_max: int) -> list[Contestant]:
    """mace-torch, and tlpot of the same irreps, degrees, body order, layers and cutoff."""
    c = options.channels
    irreps = f"{c}x0e+{c}x1o"
    settings = {**settings, "l_max": l_max, "irreps": irreps, "cutoff": CUTOFF}
    # a wider species embedding, which costs no time, brings the numbers of weights together
    model = {
        "hidden_irreps": irreps, "l_max": l_max, "cutoff": CUTOFF, "radial_hidden": [16],
        "n_species": 56 if l_max == 2 else 40,
    }  # fmt: skip
    return [
        Contestant.start("mace", "work_mace.py", options.peer_python, **settings),
        ours("compiled", settings, preset="tiny", model=model, kernels="compiled"),
        ours("torch", settings, preset="tiny", model=model, kernels="torch"),
    ]


def training(options: argparse.Namespace, settings: dict) -> None:
    for l_max in options.l_max:
        print(f"\n{settings['threads']} thread(s), C = {options.channels}, l_max = {l_max}")
        settings = {**settings, "task": "train", "n_frames": 5}
        contestants = matched(options, settings, l_max)
        times = race(contestants, options.repeats)
        show(contestants, times, "ms a step", 1e3)


def latency(options: argparse.Namespace, settings: dict) -> None:
    settings = {**settings, "task": "calculator", "n_frames": 1}
    for l_max in options.l_max:
        print(f"\n{settings['threads']} thread(s), C = {options.channels}, l_max = {l_max}")
        contestants = matched(options, settings, l_max)
        contestants += [ours(p, settings, preset=p) for p in ("tiny", "small", "medium")]
        show(contestants, race(contestants, options.repeats), "ms", 1e3)


def torchani(options: argparse.Namespace, settings: dict) -> None:
    settings = {**settings, "task": "calculator", "n_frames": 1}
    print(f"\n{settings['threads']} thread(s)")
    contestants = [
        Contestant.start("torchani", "work_torchani.py", options.peer_python, **settings),
        *(ours(p, settings, preset=p) for p in ("tiny", "small", "medium")),
    ]
    show(contestants, race(contestants, options.repeats), "ms", 1e3)


def batches(options: argparse.Namespace, settings: dict) -> None:
    settings = {**settings, "task": "batch", "n_frames": 64}
    print(f"\n{settings['threads']} thread(s)")
    contestants = [ours(p, settings, preset=p) for p in ("tiny", "small", "medium")]
    show(contestants, race(contestants, options.repeats, 2), "µs an atom", 1e6 / (64 * 27))


if __name__ == "__main__":
    main()
