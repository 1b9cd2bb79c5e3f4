"""Processor time to open a large HDF5 file, without and with its cache of flat arrays.

    python benchmarks/opening.py FILE.h5 [--repeat 3]

Each measurement is a process of its own: opening, finding all labels, and reading 3,000 frames at
random. The first with a cache makes it, in a folder of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def once(path: Path) -> None:
    """Prints the seconds of each step."""
    import numpy as np

    from tlpot.data import open_dataset

    times = [time.process_time()]
    dataset = open_dataset(path)
    times.append(time.process_time())
    for level, info in dataset.levels.items():
        for kind in info.kinds:
            dataset.labelled(level, kind)
    times.append(time.process_time())
    order = np.random.default_rng(0).permutation(len(dataset))
    dataset.read(order[:3000])
    times.append(time.process_time())
    steps = np.diff(times)
    print(
        "  ".join(f"{n} {s:.2f} s" for n, s in zip(("open", "labels", "read"), steps, strict=True))
    )


def main() -> None:
    """Parses the command line and starts the processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        once(given.path)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, cache in (("no cache", "off"), ("cache", folder)):
            for turn in range(given.repeat + (cache != "off")):
                words = "making the cache" if cache != "off" and not turn else name
                print(f"{words:18}", end="", flush=True)
                subprocess.run(
                    [sys.executable, __file__, str(given.path), "--once"],
                    env={**os.environ, "TLPOT_CACHE": cache}, check=True,
                )  # fmt: skip


if __name__ == "__main__":
    main()
