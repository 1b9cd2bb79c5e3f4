"""Outputs of programs that say all that a label needs: VASP, Quantum ESPRESSO and ORCA.

Those of the first two, for crystals, are read by ASE. Outputs of others for molecules are not read:
what ASE returns of them has lost the charge.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, Hartree

from tlpot.data.dataset import Problem
from tlpot.data.vasp_convergence import outcar_unconverged, vasprun_unconverged
from tlpot.data.xyz_file import OPENERS
from tlpot.errors import DataError
from tlpot.numbers import counted

BANNER = b"* O   R   C   A *"

_GEOMETRY = "CARTESIAN COORDINATES (ANGSTROEM)"
_ENERGY = re.compile(r"FINAL SINGLE POINT ENERGY\s+(\(.*\)\s*)?(-?\d+\.\d+)")
_GRADIENT = re.compile(r"CARTESIAN GRADIENT( \(NUMERICAL\))?")
_OTHER_GRADIENT = re.compile(r"The final \S+ gradient", re.IGNORECASE)
_CHARGE = re.compile(r"Total Charge\s+Charge\s+\.\.\.\.\s+(-?\d+)")
_SPIN = re.compile(r"Multiplicity\s+Mult\s+\.\.\.\.\s+(\d+)")
_ATOM = re.compile(r"([A-Z][a-z]?)((?:\s+-?\d+\.\d+){3})")
_SLOPE = re.compile(r"\d+\s+([A-Z][a-z]?)\s*:((?:\s+-?\d+\.\d+){3})")


_WITHOUT_FORCES = "geometries with several gradients, or with those of MP2, read without forces"


@dataclass
class _Reader:
    """The place in a file.

    Attributes:
        geometry: the last one, with no energy yet or with it.
        charge: of the last calculation.
        spin: its multiplicity.
        energy: of the geometry, hartree; None where there is none yet.
        gradients: of the geometry, hartree/bohr; None for one of a form that is not read.
        left_out: how often what was left out.
        frames: the geometries with their energies.
    """

    geometry: tuple[list[str], np.ndarray] | None = None
    charge: int | None = None
    spin: int | None = None
    energy: float | None = None
    gradients: list[np.ndarray | None] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    frames: list[Atoms] = field(default_factory=list)

    def close(self) -> None:
        """Keeps the geometry, if it has an energy, and is ready for the next one."""
        if self.energy is not None and self.geometry is not None:
            symbols, positions = self.geometry
            atoms = Atoms(symbols, positions)
            if self.charge is None or self.spin is None:
                self.left_out["geometries without charge and multiplicity, read as neutral"] += 1
            else:
                atoms.info |= {"charge": self.charge, "spin": self.spin}
            forces = None
            if len(self.gradients) == 1 and self.gradients[0] is not None:
                forces = -self.gradients[0] * Hartree / Bohr
            elif self.gradients:
                self.left_out[_WITHOUT_FORCES] += 1
            atoms.calc = SinglePointCalculator(atoms, energy=self.energy * Hartree, forces=forces)
            self.frames.append(atoms)
        self.geometry = self.energy = None
        self.gradients = []


def read_orca(handle: Iterable[str], name: str) -> tuple[list[Atoms], list[str]]:
    """Returns the geometries that have an energy, and what was left out.

    Args:
        handle: lines.
        name: of the file, for messages.

    Raises:
        DataError: two energies and no geometry between them, as of numerical frequencies or
            dynamics, of which nothing tells what the second is of; ghost atoms and the like.
    """
    lines = iter(handle)
    here = _Reader()
    for line in lines:
        text = line.strip()
        if text == _GEOMETRY:
            here.close()
            symbols = _block(lines, _ATOM, name)
            here.geometry = [each[0] for each in symbols], _numbers(symbols)
        elif found := _ENERGY.match(text):
            if found.group(1):
                here.left_out["energies that had not converged, left out"] += 1
            elif here.geometry is None or here.energy is not None:
                raise DataError(
                    f"{name} has the energy {found.group(2)} without its geometry, as where "
                    "frequencies are numerical or in dynamics; name the trajectory that ORCA "
                    "writes (--keys 'energy=comment_energy, hartree')"
                )
            else:
                here.energy = float(found.group(2))
        elif _GRADIENT.fullmatch(text):
            slopes = _numbers(_block(lines, _SLOPE, name))
            if here.geometry is not None and len(slopes) != len(here.geometry[0]):
                raise DataError(
                    f"{name}: a gradient of {len(slopes)} atoms follows a geometry of "
                    f"{len(here.geometry[0])}; was the file cut off?"
                )
            here.gradients.append(slopes)
        elif _OTHER_GRADIENT.match(text):
            here.gradients.append(None)
        elif found := _CHARGE.match(text):
            here.charge = int(found.group(1))
        elif found := _SPIN.match(text):
            here.spin = int(found.group(1))
    here.close()
    return here.frames, [f"{n} {what}" for what, n in here.left_out.items()]


def _numbers(block: Sequence[tuple[str, ...]]) -> np.ndarray:
    return np.array([[float(x) for x in words[-1].split()] for words in block]).reshape(-1, 3)


def _block(lines: Iterator[str], form: re.Pattern[str], name: str) -> list[tuple[str, ...]]:
    """Returns what lines of a form say that stand together behind a headline."""
    found: list[tuple[str, ...]] = []
    for line in lines:
        text = line.strip()
        if match := form.fullmatch(text):
            found.append(match.groups())
        elif found and text and set(text) != {"-"}:
            raise DataError(
                f"{name}: the line {text!r} is no atom: it is of a ghost or a point charge, "
                "which are not read, or the file was cut off"
            )
        elif found or (text and set(text) != {"-"}):
            break
    return found


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
