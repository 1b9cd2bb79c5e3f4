"""Toy calculators that worker processes can import: springs with bad manners."""

import os
import signal
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from tlpot.calculators import TLPotCalculator

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


class Misshapen(Spring):
    """A spring whose forces are, as `form` says, of the first atom, a vector, a column or short."""

    def __init__(self, form="first", **settings):
        super().__init__(**settings)
        self.form = form

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        whole = self.results["forces"]
        forms = {"first": whole[:1], "vector": whole[0], "column": whole[:, :1],
                 "short": whole[:-1], "flat": whole.ravel(), "number": np.array(1.0)}  # fmt: skip
        if self.form in forms:
            self.results["forces"] = forms[self.form]
        if self.form == "energies":
            self.results["energy"] = np.ones(len(atoms))


class Slow(Spring):
    """A spring that takes its time where there is an element."""

    def __init__(self, symbol="Ne", delay=0.0):
        super().__init__()
        self.symbol, self.pause = symbol, delay

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        if self.symbol in atoms.get_chemical_symbols():
            time.sleep(self.pause)
        super().calculate(atoms, properties, system_changes)


class Mute(Spring):
    """A spring without forces."""

    implemented_properties = ["energy"]  # noqa: RUF012


class Described(Spring):
    """A spring to the centre, with smooth sums over pairs as features of the atoms.

    Args:
        calls: a file that gets one line for each energy.
        asked: a file that gets one line for each question for features.
        fault: what is wrong with them, for those that should be refused.
    """

    implemented_properties = ["energy"]  # noqa: RUF012

    def __init__(self, calls=None, asked=None, fault="", k=1.0):
        super().__init__(calls, k=k)
        self.asked, self.fault = asked, fault

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        centred = atoms.copy()
        centred.positions -= atoms.positions.mean(axis=0)
        super().calculate(centred, properties, system_changes)

    def get_descriptors(self, atoms):
        if self.asked is not None:
            with Path(self.asked).open("a") as handle:
                handle.write(f"{len(atoms)}\n")
        distances = atoms.get_all_distances()[:, :, None]
        pairs = np.exp(-((distances - np.linspace(0.8, 3.5, 6)) ** 2))
        pairs[np.arange(len(atoms)), np.arange(len(atoms))] = 0.0
        by_charge = (atoms.numbers[None, :, None] * pairs).sum(axis=1)
        found = np.concatenate([pairs.sum(axis=1), by_charge], axis=1)
        if self.fault == "vectors":
            return np.concatenate([found, atoms.positions - atoms.positions.mean(axis=0)], axis=1)
        if self.fault == "shape":
            return found.sum(axis=0)
        if self.fault == "nan":
            found[0, 0] = np.nan
        if self.fault == "raises":
            raise RuntimeError("no features today")
        return found[:, : len(atoms)] if self.fault == "width" else found


class Mistaken(Calculator):
    """The shipped tiny model, its results multiplied by factors.

    Args:
        energy: factor of the energy.
        forces: of the forces.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, energy=1.0, forces=1.0):
        super().__init__()
        self.factors = {"energy": energy, "forces": forces}
        self.model = TLPotCalculator("tlpot-tiny")

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.model.calculate(atoms, ["energy", "forces"])
        self.results = {name: self.model.results[name] * f for name, f in self.factors.items()}
