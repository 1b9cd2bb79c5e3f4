"""Relaxation of a structure with a model, from a path or atoms to a result and files."""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from ase import Atoms

from tlpot.dynamics import (
    Relaxation,
    RelaxationSettings,
    RelaxationStep,
    lost_constraints,
    relaxation_steps,
)
from tlpot.errors import TLPotError, TLPotWarning
from tlpot.files import make_folder, sole_use, writing
from tlpot.jobs.calculator import (
    EnergyMethod,
    Structure,
    check_result_files,
    domain_of,
    labelled,
    open_structure,
    steps_bar,
)
from tlpot.structures import check_structure_format, extxyz_text, write_structure


def relax_structure(
    structure: Structure,
    method: EnergyMethod,
    settings: RelaxationSettings,
    *,
    charge: int | None = None,
    spin: int | None = None,
    output: str | os.PathLike[str] | None = None,
    trajectory: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Relaxation:
    """Relaxes a structure; `tlpot.relax` says what the arguments are.

    Raises:
        TLPotError: see `tlpot.relax`.
        KeyboardInterrupt: the user stopped it; the message says what the files hold.
    """
    files = {"output": output, "trajectory": trajectory}
    written = check_result_files(files, structure, overwrite=overwrite)
    atoms, notes = open_structure(structure, charge=charge, spin=spin)
    if output is not None:
        check_structure_format(output, atoms)
    atoms.calc, words = method.calculator(atoms)
    start = atoms.copy()
    found = _followed(atoms, settings, output, trajectory)
    found[-1].put(atoms)
    result = Relaxation.of_steps(
        start,
        labelled(atoms),
        settings,
        found,
        method=words,
        domain=domain_of(atoms.calc),
        notes=notes,
        files=written,
    )
    if output is not None:
        write_structure(result.atoms, output)
        _warn_of_constraints(result.atoms, Path(output))
    _warn(result)
    return result


def _followed(
    atoms: Atoms,
    settings: RelaxationSettings,
    output: str | os.PathLike[str] | None,
    trajectory: str | os.PathLike[str] | None,
) -> list[RelaxationStep]:
    """Relaxes, and keeps what there is when somebody interrupts."""
    steps = relaxation_steps(atoms, settings)
    found = [next(steps)]  # what is refused at the start is said before a file is touched
    with ExitStack() as stack:
        for path in (output, trajectory):
            if path is not None:
                make_folder(Path(path).parent)
                stack.enter_context(sole_use(Path(path), "tlpot relax"))
        frames: IO[str] | None = None
        if trajectory is not None:
            with writing(trajectory):
                frames = stack.enter_context(Path(trajectory).open("w", encoding="utf-8"))
        try:
            _record(frames, atoms, found[0])
            bar = stack.enter_context(steps_bar())
            for step in steps:
                found.append(step)
                _record(frames, atoms, step)
                bar.set_postfix_str(
                    f"{step.energy:.5f} eV, force {step.max_force:.4f} eV/Å", refresh=False
                )
                bar.update()
        except BaseException as error:  # whatever the progress callable raises, too
            kept = _kept(atoms, found[-1], output, error)
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(kept) from None
            raise
    return found


def _kept(
    atoms: Atoms,
    last: RelaxationStep,
    output: str | os.PathLike[str] | None,
    error: BaseException,
) -> str:
    """Writes the last structure of an interrupted relaxation; says so."""
    state = f"the relaxation is NOT CONVERGED, step {last.step}, force {last.max_force:.4f} eV/Å"
    if output is None:
        return state
    if isinstance(error, TLPotError):
        return state  # a failure, after which there is nothing to go on from
    last.put(atoms)
    atoms.calc, calculator = None, atoms.calc
    try:
        write_structure(atoms, output)
    finally:
        atoms.calc = calculator
    return f"{output} holds the last structure; {state}. Start from it to go on"


def _record(frames: IO[str] | None, atoms: Atoms, step: RelaxationStep) -> None:
    """Adds a frame in one piece, so that a killed run leaves whole ones."""
    if frames is None:
        return
    frame = labelled(atoms)
    frame.info["step"] = step.step
    with writing(frames.name):
        frames.write(extxyz_text([frame]))
        frames.flush()


def _warn_of_constraints(atoms: Atoms, output: Path) -> None:
    xyz = output.suffix.lower() in (".xyz", ".extxyz")
    held = sorted({type(constraint).__name__ for constraint in atoms.constraints})
    lost = lost_constraints(atoms) if xyz else held if output.suffix.lower() != ".traj" else []
    if lost:
        warnings.warn(
            f"{output} cannot hold the constraints {', '.join(lost)}: set them again before you "
            "go on from it",
            TLPotWarning,
            stacklevel=4,
        )


def _warn(result: Relaxation) -> None:
    if not result.converged:
        warnings.warn(result.remedy, TLPotWarning, stacklevel=4)
    changed = [*result.broken, *result.formed]
    if changed:
        what = " and ".join(
            word for word, bonds in (("lost", result.broken), ("formed", result.formed)) if bonds
        )
        warnings.warn(
            f"the relaxation {what} bonds: {'; '.join(changed)}. Another molecule than at the "
            "start: check the charge and the protonation, start from a better structure, or use "
            "a model that knows such geometries",
            TLPotWarning,
            stacklevel=4,
        )
