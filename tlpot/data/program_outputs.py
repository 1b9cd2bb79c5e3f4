"""Outputs of programs that say all that a label needs: VASP, Quantum ESPRESSO and ORCA.

Those of the first two, for crystals, are read by ASE. Outputs of others for molecules are not read:
what ASE returns of them has lost the charge.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from ase import Atoms

from tlpot.data.dataset import Problem
from tlpot.data.orca_outputs import BANNER, read_orca
from tlpot.data.vasp_convergence import outcar_unconverged, vasprun_unconverged
from tlpot.data.xyz_file import OPENERS
from tlpot.errors import DataError
from tlpot.numbers import counted

Kind = Literal["vasprun.xml", "OUTCAR", "output of pw.x", "output of ORCA"]

_HEAD = 4096
_SMEARED = 1e-3
"""eV per atom; where energies differ by more, forces are not the slope of the one that is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramOutput:
    """The steps of a calculation.

    Attributes:
        steps: with energy, forces and stress, positive under tension, in their calculators.
        problems: what was found in reading.
    """

    steps: list[Atoms]
    problems: tuple[Problem, ...]


def output_kind(path: Path) -> Kind | None:
    """Returns which output a file is, by its name or its first lines; None for anything else."""
    inner = path.with_suffix("") if path.suffix in OPENERS else path
    if not path.is_file():
        return None
    if "vasprun" in inner.name.lower() and inner.suffix == ".xml":
        return "vasprun.xml"
    if inner.name.startswith("OUTCAR"):
        return "OUTCAR"
    if path.suffix in (".pwo", ".out", ".log"):
        with path.open("rb") as handle:
            head = handle.read(_HEAD)
        if b"Program PWSCF" in head:
            return "output of pw.x"
        if BANNER in head:
            return "output of ORCA"
    return None


def read_output(path: Path, kind: Kind) -> ProgramOutput:
    """Reads all steps.

    Raises:
        DataError: damaged, or no step is complete.
    """
    left_out: list[str] = []
    try:
        with OPENERS.get(path.suffix, open)(path, "rt") as handle:
            if kind == "output of ORCA":
                steps, left_out = read_orca(handle, str(path))
            else:
                steps = _steps(handle, kind)
        with OPENERS.get(path.suffix, open)(path, "rt") as handle:
            complete = kind != "vasprun.xml" or any("</modeling>" in line for line in handle)
        with OPENERS.get(path.suffix, open)(path, "rt") as handle:
            unconverged = _unconverged(handle, kind)
    except DataError:
        raise
    except Exception as error:  # the readers raise a dozen kinds for damage
        raise DataError(
            f"{path} cannot be read as {kind} ({type(error).__name__}: {error}); was the program "
            "stopped before its first step was complete?"
        ) from error
    ended = [at for at, early in zip_longest(steps, unconverged) if at is not None and not early]
    if n_early := len(steps) - len(ended):
        if not ended:
            raise DataError(
                f"{path}: the electrons had converged in no step of this {kind} (NELM reached); "
                "compute it again with a larger NELM, or another ALGO or mixing"
            )
        left_out.append(
            f"{counted(n_early, 'step')} whose electrons had not converged (NELM reached) left out"
        )
        steps = ended
    whole = [atoms for atoms in steps if atoms.calc is not None and "energy" in atoms.calc.results]
    if not whole:
        raise DataError(f"{path}: no step of this {kind} has an energy")
    problems = [Problem(severity="warning", what=what) for what in left_out]
    if len(whole) < len(steps):
        what = f"{counted(len(steps) - len(whole), 'step')} without an energy left out"
        problems.append(Problem(severity="warning", what=what))
    if not complete:
        what = "the file ends before the calculation does; a step that is not complete is left out"
        problems.append(Problem(severity="warning", what=what))
    gap = max(_smearing(atoms) for atoms in whole)
    if gap > _SMEARED:
        what = (
            f"the free energy, whose slope the forces are, differs from the energy without "
            f"smearing, which is read, by up to {1e3 * gap:.2g} meV per atom; for the free energy: "
            "--keys energy=free_energy forces=forces stress=stress"
        )
        problems.append(Problem(severity="warning", what=what))
    return ProgramOutput(steps=whole, problems=tuple(problems))


def _steps(handle: Any, kind: Kind) -> list[Atoms]:
    every = slice(None)
    if kind == "output of pw.x":
        from ase.io.espresso import read_espresso_out

        return list(read_espresso_out(handle, index=every))
    from ase.io.vasp import read_vasp_out, read_vasp_xml

    found = (read_vasp_xml if kind == "vasprun.xml" else read_vasp_out)(handle, index=every)
    return cast(list[Atoms], list(found))


def _unconverged(handle: Any, kind: Kind) -> list[bool]:
    """Returns which steps ended before their electrons had converged; pw.x writes no such ones."""
    if kind == "OUTCAR":
        return outcar_unconverged(handle)
    return vasprun_unconverged(handle) if kind == "vasprun.xml" else []


def _smearing(atoms: Atoms) -> float:
    results = atoms.calc.results
    free = results.get("free_energy", results["energy"])
    return float(np.abs(free - results["energy"])) / len(atoms)
