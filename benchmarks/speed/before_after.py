"""Speed of this checkout beside another one, in turns: before_after.py OLD_CHECKOUT --data DIR.

    python benchmarks/speed/before_after.py ../tlpot-before --old-python ../before/bin/python

Rows as in rows.py and calculator_overhead.py: R1 training of 5 x 27 atoms (compiled and torch),
R2 and R3 force calls of 27 atoms through the calculator, R4 batches of 64 x 27 atoms, R5 the
calculator on 9 atoms, where its own cost shows. Prints the median of the ratios new/old and
their quartiles. Each side runs its own workers with its own packages, weights at random.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from contest import HERE, Contestant, check_idle, processor, race

CASES = {
    "R1 training, compiled": {"task": "train", "n_frames": 5, "preset": "tiny"},
    "R1 training, torch": {"task": "train", "n_frames": 5, "preset": "tiny", "kernels": "torch"},
    "R2 calculator, tiny": {"task": "calculator", "n_frames": 1, "preset": "tiny"},
    "R3 calculator, small": {"task": "calculator", "n_frames": 1, "preset": "small"},
    "R4 batch, tiny": {"task": "batch", "n_frames": 64, "preset": "tiny"},
    "R5 calculator, 9 atoms": {"task": "calculator", "n_frames": 1, "preset": "tiny"},
}
ETHANOL = """9
Properties=species:S:1:pos:R:3 pbc="F F F"
C 1.1879 -0.3829 0.0
C 0.0 0.5526 0.0
O -1.1867 -0.2472 0.0
H -1.9237 0.3850 0.0
H 2.0985 0.2306 0.0
H 1.1184 -1.0093 0.8869
H 1.1184 -1.0093 -0.8869
H -0.0227 1.1812 0.8852
H -0.0227 1.1812 -0.8852
"""


def start(name: str, checkout: Path, python: str, settings: dict) -> Contestant:
    """Starts the worker of a checkout, which imports the tlpot beside it."""
    folder = checkout / "benchmarks" / "speed"
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    }
    process = subprocess.Popen(
        [python, str(folder / "work_tlpot.py"), json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    return Contestant(name, process, json.loads(Contestant._line(process, name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="checkout of before")
    parser.add_argument("--old-python", default=sys.executable)
    parser.add_argument("--data", default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--busy", action="store_true", help="race on a busy machine, too")
    options = parser.parse_args()
    if not options.data:
        raise SystemExit("name the data with --data: 3bpa/train_300K.xyz, see rows.py")
    frames = Path(options.data) / "3bpa" / "train_300K.xyz"
    small = Path(os.environ.get("TMPDIR", "/tmp")) / "before_after_ethanol.xyz"
    small.write_text(ETHANOL)
    print(f"{processor()}, {options.repeats} turns, one thread")
    check_idle()
    print(f"{'':28}{'old':>10}{'new':>10}{'new/old':>10}   quartiles")
    for name, case in CASES.items():
        settings = {"threads": 1, "frames": str(small if "9 atoms" in name else frames), **case}
        contestants = [
            start("old", options.old.resolve(), options.old_python, settings),
            start("new", HERE.parent.parent, sys.executable, settings),
        ]
        times = race(contestants, options.repeats)
        ratio = np.percentile(times["new"] / times["old"], [25, 50, 75])
        old, new = (1e3 * np.median(times[side]) for side in ("old", "new"))
        print(
            f"{name:28}{old:8.2f}ms{new:8.2f}ms{ratio[1]:>10.3f}   "
            f"{ratio[0]:.3f} to {ratio[2]:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
