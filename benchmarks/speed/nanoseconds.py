"""Nanoseconds a day of molecules in vacuum, beside other programs, a turn each in random order.

    python benchmarks/speed/nanoseconds.py --data DIR --peer gfnff=PYTHON --peer mace=PYTHON

ASE's velocity Verlet with 0.5 fs at 300 K, one thread: milliseconds of a force call and of a step,
by time of the processor, and what follows for a day from the fastest turn, as others can only
make it longer. DIR holds 3bpa/ and proteins/chig.pdb (the
data of AI2BMD); peers, each with the Python of its environment, are ``gfnff`` (gfnff 0.3.1),
``torchani`` (2.9.0), ``mace`` (mace-torch 0.3.16) and ``symmetrix FILE.json`` (a file that
../foreign/race.py converted). ASE's own part is the row ``nothing``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.io import write
from contest import Contestant, processor

PEPTIDES, FRAGMENTS = "tlpot-peptides-tiny aimnet2", "tlpot-fragments pbe-d3bj/def2-svp"
OURS = ("tlpot-tiny wb97x/6-31g*", PEPTIDES, FRAGMENTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peer", action="append", default=[], metavar="PROGRAM=PYTHON")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--only", nargs="*", help="ethanol, 3bpa, chignolin")
    parser.add_argument("--skip", nargs="*", default=[], help="programs that take too long")
    given = parser.parse_args()
    peers = dict(peer.rsplit("=", 1) for peer in given.peer)
    with tempfile.TemporaryDirectory() as folder:
        ethanol = Path(folder) / "ethanol.xyz"
        write(ethanol, molecule("CH3CH2OH"))
        molecules = {
            "ethanol": (ethanol, 0, OURS),
            "3bpa": (given.data / "3bpa" / "train_300K.xyz", 0, OURS),
            "chignolin": (
                given.data / "proteins" / "chig.pdb",
                -2,
                (*OURS, f"{PEPTIDES} mfcc", f"{FRAGMENTS} mfcc", f"{PEPTIDES} mfcc_mbe2"),
            ),
        }
        print(f"{processor()}, {given.turns} turns, medians and smallest")
        for name in given.only or molecules:
            structure, charge, ours = molecules[name]
            programs = dict.fromkeys(("nothing", *ours, "gfn2-xtb"), sys.executable) | peers
            programs = {p: python for p, python in programs.items() if p not in given.skip}
            race(name, structure, charge, programs, given.turns)


def race(name: str, structure: Path, charge: int, programs: dict[str, str], turns: int) -> None:
    """Prints the rows of one molecule."""
    contestants = [
        Contestant.start(
            program, "work_md.py", python, program=program, structure=str(structure.resolve()),
            charge=charge, threads=1,
        )
        for program, python in programs.items()
    ]  # fmt: skip
    print(f"\n{name}, {contestants[0].facts['atoms']} atoms")
    print(f"{'':38}{'force call, ms':>20}{'step, ms':>20}{'ns/day':>9}", flush=True)
    rng = np.random.default_rng(0)
    seconds = np.zeros((turns, len(contestants), 2))
    for turn in range(-1, turns):
        for k in rng.permutation(len(contestants)):
            found = [contestants[k].run(order) for order in ("force", "step")]
            if turn >= 0:
                seconds[turn, k] = found
    for contestant, (force, step) in zip(contestants, seconds.transpose(1, 2, 0), strict=True):
        contestant.stop()
        words = "".join(f"{spread(1e3 * values):>20}" for values in (force, step))
        print(f"{contestant.name:38}{words}{0.5e-6 * 86400 / step.min():9.3f}", flush=True)


def spread(values: np.ndarray) -> str:
    return f"{np.median(values):.3g} ({values.min():.3g})"


if __name__ == "__main__":
    main()
