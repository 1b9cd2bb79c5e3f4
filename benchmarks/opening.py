"""Processor time to open a large HDF5 file, without and with its cache of flat arrays.

    python benchmarks/opening.py FILE.h5 [--repeat 3]
    python benchmarks/opening.py FILE --keys "gap@pbe=gap_pbe, eV, intensive"

Each measurement is a process of its own: opening, finding all labels, and reading 3,000 frames at
random. The first with a cache makes it, in a folder of its own. A file of another layout than HDF5
(or a folder of CIFs) is converted first, which is measured, too.
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


def converted(path: Path, keys: list[str], output: Path) -> Path:
    """Writes a file in the native layout and prints how long it takes to read and to write."""
    from tlpot.data import open_dataset, write_dataset

    times = [time.process_time()]
    dataset = open_dataset(path, keys=dict(key.split("=", 1) for key in keys))
    times.append(time.process_time())
    write_dataset(dataset, output)
    times.append(time.process_time())
    read, write = times[1] - times[0], times[2] - times[1]
    size = output.stat().st_size / 1e6
    print(f"converting        read {read:.2f} s  write {write:.2f} s  ({size:.0f} MB)", flush=True)
    return output


def main() -> None:
    """Parses the command line and starts the processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keys", nargs="+", default=[], help="of labels, for another layout")
    given = parser.parse_args()
    if given.once:
        once(given.path)
        return
    with tempfile.TemporaryDirectory() as folder:
        if given.path.suffix not in (".h5", ".hdf5"):
            given.path = converted(given.path, given.keys, Path(folder) / "converted.h5")
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
