"""Relaxation of a structure with a model, from a path or atoms to a result and files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from ase import Atoms

from tlpot.dynamics import (
    Relaxation,
    RelaxationSettings,
    RelaxationStep,
    lost_constraints,
    relaxation_steps,
)
from tlpot.errors import OutputError, TLPotError, TLPotWarning
from tlpot.files import make_folder, sole_use
from tlpot.fragments import Scheme
from tlpot.jobs.calculator import (
    Progress,
    Structure,
    check_result_file,
    domain_of,
    labelled,
    open_calculator,
    open_structure,
)
from tlpot.structures import check_structure_format, extxyz_text, write_structure
from tlpot.torch_mode import torch_threads


def relax(
    structure: Structure,
    model: Any,
    *,
    level: str | None = None,
    scheme: str | Scheme | None = None,
    fmax: float = 0.01,
    steps: int = 1000,
    optimizer: str = "auto",
    cell: bool = False,
    pressure: float = 0.0,
    charge: int | None = None,
    spin: int | None = None,
    low: Any = None,
    low_level: str | None = None,
    charges: str | None = None,
    dispersion: str | None = None,
    trained_charges: bool = False,
    output: str | os.PathLike[str] | None = None,
    trajectory: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    device: str | None = None,
    dtype: str | None = "float64",
    threads: int = 1,
    progress: Progress | None = None,
) -> Relaxation:
    """Relaxes a structure until no force is larger than `fmax`.

    Constraints of the atoms are kept. A result that is not converged, or has lost a bond, says so
    and comes with a `TLPotWarning`. Where the job is interrupted or `progress` raises, the last
    structure is written to `output` before the exception goes on.

    Args:
        structure: a file (its last frame), one of ASE's molecules by name, or atoms, which are
            copied.
        model: a model file, the name of a model, a potential or another energy model, an engine
            such as ``gfn2-xtb``, or an ASE calculator such as a `DeltaCalculator`.
        level: level of theory, if the model has several.
        scheme: of fragments; None treats the whole structure.
        fmax: largest force to end at, eV/Å.
        steps: the most steps.
        optimizer: ``auto``, ``bfgs-line-search``, ``lbfgs`` or ``fire``, see
            `RelaxationSettings`.
        cell: relax the cell, too.
        pressure: that the cell is relaxed under, bar.
        charge: total charge in e, in place of what the structure says.
        spin: multiplicity 2S + 1, likewise.
        low: the lower of two levels, see `tlpot.jobs.calculator.open_calculator`.
        low_level: level of theory of `low`.
        charges: ``amber``, see `FragmentCalculator`.
        dispersion: such as ``d3bj:b3lyp``, see `FragmentCalculator`.
        trained_charges: see `FragmentCalculator`.
        output: file for the relaxed structure, in the format of its ending.
        trajectory: extended XYZ file for the structure after each step.
        overwrite: replace files that are there; never the structure itself.
        device: such as ``cuda:1``; None is CUDA if there is one, else the CPU.
        dtype: of the model: rounding in float32 misleads line searches. None is as stored.
        threads: for torch, while the job runs.
        progress: called after each step.

    Raises:
        ConfigError: arguments that make no sense.
        DataError: the structure could not be read.
        GeometryError: NaN, coincident atoms, nothing that can move, and what the model refuses.
        OutputError: a file exists, or could not be written.
        SimulationError: the model refuses a geometry on the way; the trajectory has the others.
        KeyboardInterrupt: the user stopped it; the message says what the files hold.
    """
    settings = RelaxationSettings(
        fmax=fmax, steps=steps, optimizer=optimizer, cell=cell, pressure=pressure
    )
    for path, option in ((output, "output"), (trajectory, "trajectory")):
        if path is not None:
            check_result_file(path, structure, overwrite=overwrite, option=option)
    if output is not None:
        check_structure_format(output)
        if trajectory is not None and Path(output).resolve() == Path(trajectory).resolve():
            raise OutputError(f"output and trajectory are both {output}; give two names")
    with torch_threads(threads):
        atoms, notes = open_structure(structure, charge=charge, spin=spin)
        calculator, method = open_calculator(
            atoms, model, level=level, scheme=scheme, low=low, low_level=low_level,
            charges=charges, dispersion=dispersion, trained_charges=trained_charges,
            device=device, dtype=dtype,
        )  # fmt: skip
        start = atoms.copy()
        atoms.calc = calculator
        found = _followed(atoms, settings, output, trajectory, progress)
        found[-1].put(atoms)
        result = Relaxation.of_steps(
            start,
            labelled(atoms),
            settings,
            found,
            method=method,
            domain=domain_of(calculator),
            notes=notes,
            files=[Path(path) for path in (output, trajectory) if path is not None],
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
    progress: Progress | None,
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
            with _writing(trajectory):
                frames = stack.enter_context(Path(trajectory).open("w", encoding="utf-8"))
        try:
            _record(frames, atoms, found[0])
            for step in steps:
                found.append(step)
                _record(frames, atoms, step)
                if progress is not None:
                    progress(
                        step.step, None, f"{step.energy:.5f} eV, force {step.max_force:.4f} eV/Å"
                    )
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


@contextmanager
def _writing(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"could not write {path}: {error.strerror or error}") from error


def _record(frames: IO[str] | None, atoms: Atoms, step: RelaxationStep) -> None:
    """Adds a frame in one piece, so that a killed run leaves whole ones."""
    if frames is None:
        return
    frame = labelled(atoms)
    frame.info["step"] = step.step
    with _writing(frames.name):
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
            stacklevel=3,
        )


def _warn(result: Relaxation) -> None:
    if not result.converged:
        warnings.warn(result.remedy, TLPotWarning, stacklevel=3)
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
            stacklevel=3,
        )
