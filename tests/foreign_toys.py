"""Calculators that a worker in another Python serves; they import nothing of tlpot."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Foreign(Calculator):
    """E = ½ k Σ r² + charge, charges from ``atoms.info``; neon raises, helium kills the process.

    Args:
        k: eV/Å².
        lives: a file; helium kills only until it is there, which it then is.
        delay: s.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, k=1.0, lives=None, delay=0.0, charge=0):
        super().__init__()
        self.k, self.lives, self.delay, self.charge = k, lives, delay, charge

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        print("a line of the calculator")
        time.sleep(self.delay)
        if 2 in atoms.numbers and not (self.lives and Path(self.lives).exists()):
            if self.lives:
                Path(self.lives).touch()
            print("the last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if 10 in atoms.numbers:
            raise RuntimeError("neon is not to be had")
        charge = atoms.info["charge"] + self.charge
        self.results = {
            "energy": 0.5 * self.k * float(np.sum(atoms.positions**2)) + charge,
            "forces": -self.k * atoms.positions,
            "stress": np.arange(6.0),
        }

    def get_descriptors(self, atoms):
        return np.stack([atoms.numbers, atoms.positions[:, 0]], axis=1)


class Together(Foreign):
    """Several molecules at once; helium kills the process, and neon raises, as for one."""

    def calculate_batch(self, frames, properties):
        print(f"{len(frames)} at once")
        for atoms in frames:
            self.calculate(atoms)
        positions = np.array([atoms.positions for atoms in frames])
        charges = np.array([atoms.info["charge"] + self.charge for atoms in frames])
        energy = 0.5 * self.k * (positions**2).sum(axis=(1, 2)) + charges
        found = {"energy": energy, "forces": -self.k * positions}
        return {name: found[name] for name in properties}


class Weighed(Foreign):
    """Its constant is in a file, or in ``k.txt`` of a folder."""

    def __init__(self, weights, log=None):
        path = Path(weights)
        super().__init__(k=float((path / "k.txt" if path.is_dir() else path).read_text()))


class Crooked(Together):
    """A batch of the wrong shape."""

    def calculate_batch(self, frames, properties):
        return {name: [0.0] for name in properties}


class Mute(Foreign):
    """Without forces."""

    implemented_properties = ["energy"]  # noqa: RUF012


class Starts(Foreign):
    """Starts a program that reads its standard input to the end."""

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        subprocess.run(["cat"], check=True)
        super().calculate(atoms, properties, system_changes)


def model(file, name="toy-net"):
    """Returns a trained model, which says what it is."""
    calculator = Foreign()
    calculator.about = {"name": name, "licence": "MIT", "origin": "here", "files": [file],
                        "elements": ["H", "C"]}  # fmt: skip
    return calculator


def slow():
    time.sleep(60)
