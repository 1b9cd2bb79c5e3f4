"""A descent to a minimum that goes on where it was killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.optimize import LBFGS

from tlpot.calculators import FragmentCalculator
from tlpot.files import make_folder
from tlpot.stored_results import read_arrays, write_arrays

_FORCE, _STEPS, _LONGEST = 0.05, 200, 0.1
"""eV/Å to end at, and Å for a step."""


def descend(atoms: Atoms, path: Path, stop: Callable[[], bool]) -> None:
    """Moves atoms downhill; where the file is there, it goes on from it.

    On a CPU the result does not depend on interruptions, to the last bit.

    Raises:
        KeyboardInterrupt: the user stopped it; all steps are kept.
        DataError: the file is damaged.
        GeometryError: the calculator refuses what it came to.
    """
    make_folder(path.parent)
    optimizer = _Relaxation(atoms, path)
    for _ in optimizer.irun(fmax=_FORCE, steps=_STEPS - optimizer.done):
        if stop():
            raise KeyboardInterrupt


_MEMORY = ("count", "moves", "changes", "weights", "before", "forces")
"""What the optimizer goes on from, in ASE's order."""


class _Relaxation(LBFGS):
    """LBFGS whose memory and positions are one file, written after each step."""

    done = 0

    def __init__(self, atoms: Atoms, path: Path) -> None:
        self.path = path  # ASE reads it while it sets itself up
        super().__init__(atoms, restart=str(path), logfile=None, maxstep=_LONGEST)  # type: ignore[arg-type]

    def dump(self, data: Any) -> None:
        """Writes what ASE would write, and the positions; it is called after each step."""
        self.done += 1
        memory = dict(zip(_MEMORY, data, strict=False))
        write_arrays(self.path, {"done": self.done, "positions": self.atoms.positions, **memory})
        if isinstance(self.atoms.calc, FragmentCalculator):
            self.atoms.calc.forget()  # whoever goes on from the file has no lists either

    def load(self) -> tuple[Any, ...]:
        """Reads it, and moves the atoms there."""
        found = read_arrays(self.path, ("done", "positions", *_MEMORY), "remove it")
        assert found is not None  # ASE looks whether there is one
        self.done = int(found["done"])
        self.atoms.set_positions(found["positions"])
        memory = [list(found[name]) for name in _MEMORY[1:4]]
        # without a line search there is no energy to remember
        return int(found["count"]), *memory, found["before"], found["forces"], None, "START"
