"""Toy calculators that worker processes can import: springs with bad manners."""

import os
import signal
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

HELIUM, NEON = 2, 10


class Spring(Calculator):
    """E = ½ k Σ r²; helium kills its process, neon raises.

    Args:
        calls: a file that gets one line for each call.
        lives: helium kills this many processes and then behaves; None for always.
        delay: s.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, calls=None, lives=None, delay=0.0, k=1.0):
        super().__init__()
        self.calls, self.lives, self.delay, self.k = calls, lives, delay, k

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        symbols = "".join(atoms.get_chemical_symbols())
        before = ""
        if self.calls is not None:
            path = Path(self.calls)
            before = path.read_text() if path.exists() else ""
            with path.open("a") as handle:
                handle.write(f"{symbols} {atoms.positions.sum():.6f}\n")
        time.sleep(self.delay)
        if HELIUM in atoms.numbers and (
            self.lives is None or before.count(f"{symbols} ") < self.lives
        ):
            os.kill(os.getpid(), signal.SIGKILL)
        if NEON in atoms.numbers:
            raise RuntimeError("neon is not to be had")
        self.results = {
            "energy": 0.5 * self.k * float(np.sum(atoms.positions**2)),
            "forces": -self.k * atoms.positions,
        }


class Together(Spring):
    """Springs of several molecules at once."""

    def calculate_batch(self, frames, properties):
        found = []
        for atoms in frames:
            self.calculate(atoms)
            found.append(self.results)
        return {name: np.array([each[name] for each in found]) for name in properties}


class Mute(Spring):
    """A spring without forces."""

    implemented_properties = ["energy"]  # noqa: RUF012
