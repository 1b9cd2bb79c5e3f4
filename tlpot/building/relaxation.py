"""Going downhill so that a kill costs one step."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.optimize import LBFGS

from tlpot.calculators import FragmentCalculator
from tlpot.errors import DataError
from tlpot.files import atomic_file, make_folder

_FORCE, _STEPS, _LONGEST = 0.05, 200, 0.1
"""eV/Å to end at, and Å for a step."""


def descend(atoms: Atoms, path: Path, stop: Callable[[], bool]) -> None:
    """Moves atoms downhill; where the file is there, it goes on from it.

    On a CPU the result does not depend on interruptions, to the last bit.

    Args:
        atoms: with a calculator.
        path: of what is known so far.
        stop: whether the user has asked to stop.

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


class _Relaxation(LBFGS):
    """LBFGS whose memory and positions are one file, written after each step."""

    done = 0

    def __init__(self, atoms: Atoms, path: Path) -> None:
        self.path = path  # ASE reads it while it sets itself up
        super().__init__(atoms, restart=str(path), logfile=None, maxstep=_LONGEST)  # type: ignore[arg-type]

    def dump(self, data: Any) -> None:
        """Writes what ASE would write, and the positions; it is called after each step."""
        self.done += 1
        count, moves, changes, weights, before, forces, *_ = data
        with atomic_file(self.path) as temporary, temporary.open("wb") as handle:
            np.savez(
                handle, done=self.done, positions=self.atoms.positions, count=count, moves=moves,
                changes=changes, weights=weights, before=before, forces=forces,
            )  # fmt: skip
        if isinstance(self.atoms.calc, FragmentCalculator):
            self.atoms.calc.forget()  # whoever goes on from the file has no lists either

    def load(self) -> tuple[Any, ...]:
        """Reads it, and moves the atoms there."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                self.done = int(file["done"])
                self.atoms.set_positions(file["positions"])
                memory = [list(file[name]) for name in ("moves", "changes", "weights")]
                # without a line search there is no energy to remember
                return int(file["count"]), *memory, file["before"], file["forces"], None, "START"
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.path} is damaged ({error}); remove it") from error
