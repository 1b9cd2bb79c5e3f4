"""Harmonic frequencies and thermochemistry of a structure with a model."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tlpot.dynamics import (
    Frequencies,
    HarmonicModes,
    Relaxation,
    RelaxationSettings,
    Thermochemistry,
    check_conditions,
    check_stationary,
    free_atoms,
    harmonic_modes,
    hessian_of,
    relaxation_steps,
    thermochemistry,
    write_modes,
    write_molden,
)
from tlpot.errors import OutputError, SimulationError
from tlpot.files import make_folder
from tlpot.fragments import Scheme
from tlpot.jobs.calculator import (
    Progress,
    Structure,
    check_result_file,
    domain_of,
    labelled,
    open_calculator,
    open_structure,
    precision_of,
)
from tlpot.system import System
from tlpot.torch_mode import torch_threads

FORCE_LIMIT = 0.01
"""Largest force of a stationary point, eV/Å."""
_FREE = 1e-2
"""cm⁻¹ below which a mode has no restoring force, and no entropy."""
TIGHT = 1e-3
"""Force that a relaxation before the frequencies ends at, eV/Å."""


def frequencies(
    structure: Structure,
    model: Any,
    *,
    level: str | None = None,
    scheme: str | Scheme | None = None,
    relax: bool = False,
    fmax: float = TIGHT,
    steps: int = 1000,
    allow_forces: bool = False,
    temperature: float = 298.15,
    pressure: float = 1.01325,
    symmetry: int | None = None,
    charge: int | None = None,
    spin: int | None = None,
    low: Any = None,
    low_level: str | None = None,
    charges: str | None = None,
    dispersion: str | None = None,
    trained_charges: bool = False,
    modes: str | os.PathLike[str] | None = None,
    molden: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    device: str | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Frequencies:
    """Computes harmonic vibrations in float64.

    The Hessian is the model's own, by automatic derivatives; where a part of the model has none
    (an engine, a `DeltaCalculator`), it is central differences of forces, which the result says.

    Args:
        structure: a stationary point: a file (its last frame), one of ASE's molecules by name,
            or atoms, which are copied. Of constraints only fixed atoms are understood.
        model: a model file, the name of a model, a potential or another energy model, an engine
            such as ``gfn2-xtb``, or an ASE calculator such as a `DeltaCalculator`.
        level: level of theory, if the model has several.
        scheme: of fragments; None treats the whole structure.
        relax: relax the structure first, until no force is larger than `fmax`.
        fmax: of that relaxation, eV/Å.
        steps: the most steps of it.
        allow_forces: go on where a force is larger than 0.01 eV/Å. There is no thermochemistry.
        temperature: of the thermochemistry, K.
        pressure: of the ideal gas, bar; the default is 1 atm.
        symmetry: rotational symmetry number; None finds it, see
            `tlpot.dynamics.thermochemistry.symmetry_number`.
        charge: total charge in e, in place of what the structure says.
        spin: multiplicity 2S + 1, likewise.
        low: the lower of two levels, see `tlpot.jobs.calculator.open_calculator`.
        low_level: level of theory of `low`.
        charges: ``amber``, see `FragmentCalculator`.
        dispersion: such as ``d3bj:b3lyp``, see `FragmentCalculator`.
        trained_charges: see `FragmentCalculator`.
        modes: extended XYZ file for the displacements, a frame for each mode.
        molden: file for the displacements in the format of Molden.
        overwrite: replace files that are there; never the structure itself.
        device: such as ``cuda:1``; None is CUDA if there is one, else the CPU.
        threads: for torch, while the job runs.
        progress: called after each step of a relaxation, and each row of the Hessian.

    Raises:
        ConfigError: arguments that make no sense, or constraints that are no fixed atoms.
        DataError: the structure could not be read.
        GeometryError: a force is too large, all atoms are fixed, and what the model refuses.
        OutputError: a file exists, or could not be written.
        SimulationError: the relaxation does not converge.
    """
    check_conditions(temperature, pressure, symmetry)
    settings = RelaxationSettings(fmax=fmax, steps=steps)
    for path, option in ((modes, "modes"), (molden, "molden")):
        if path is not None:
            check_result_file(path, structure, overwrite=overwrite, option=option)
    if modes is not None and molden is not None and Path(modes).resolve() == Path(molden).resolve():
        raise OutputError(f"modes and molden are both {modes}; give two names")
    with torch_threads(threads):
        atoms, notes = open_structure(structure, charge=charge, spin=spin)
        free_atoms(atoms)
        calculator, method = open_calculator(
            atoms, model, level=level, scheme=scheme, low=low, low_level=low_level,
            charges=charges, dispersion=dispersion, trained_charges=trained_charges,
            device=device, dtype="float64",
        )  # fmt: skip
        atoms.calc = calculator
        before = _relaxed(atoms, settings, method, progress) if relax else None
        energy = float(atoms.get_potential_energy())
        max_force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        if not math.isfinite(energy + max_force):
            raise SimulationError(
                "energy or forces are not finite; look at the structure (overlapping atoms?) and "
                "at what the calculator says of it"
            )
        domain = domain_of(calculator)
        if not allow_forces:
            remedy = "relax it first (--relax, relax=True), or go on all the same with "
            check_stationary(max_force, FORCE_LIMIT, remedy + "--not-relaxed (allow_forces=True)")
        told = None if progress is None else _rows(progress)
        hessian, derivatives = hessian_of(atoms, calculator, on_row=told)
        atoms.get_forces()  # of the structure itself again, should differences have moved it
        known = labelled(atoms)
    found = harmonic_modes(known, hessian)
    thermal, reason = _thermal(known, energy, found, max_force, temperature, pressure, symmetry)
    for path, write in ((modes, write_modes), (molden, write_molden)):
        if path is not None:
            make_folder(Path(path).parent)
            write(known, found, path)
    return Frequencies(
        atoms=known,
        method=method,
        derivatives=derivatives,
        precision=precision_of(calculator),
        energy=energy,
        max_force=max_force,
        stationary=max_force <= FORCE_LIMIT,
        hessian=hessian,
        modes=found,
        thermochemistry=thermal,
        no_thermochemistry=reason,
        symmetry_found=symmetry is None,
        domain=domain,
        relaxation=before,
        notes=notes,
        files=tuple(Path(path) for path in (modes, molden) if path is not None),
    )


def _relaxed(
    atoms: Atoms, settings: RelaxationSettings, method: str, progress: Progress | None
) -> Relaxation:
    start, found = atoms.copy(), []
    for step in relaxation_steps(atoms, settings):
        found.append(step)
        if progress is not None:
            progress(step.step, None, f"relaxation, force {step.max_force:.4f} eV/Å")
    found[-1].put(atoms)
    result = Relaxation.of_steps(start, labelled(atoms), settings, found, method=method)
    if not result.converged:
        raise SimulationError(result.remedy)
    return result


def _rows(progress: Progress) -> Any:
    def told(done: int, total: int) -> None:
        progress(done, total, "Hessian")

    return told


def _multiplicity(system: System) -> int:
    """That of the structure; a radical that states none is a doublet, whatever the model reads."""
    odd = (int(system.atomic_numbers.sum()) - system.charge + system.spin) % 2 == 0
    return system.spin + 1 if odd and not system.pbc.any() else system.spin


def _thermal(
    atoms: Atoms,
    energy: float,
    found: HarmonicModes,
    max_force: float,
    temperature: float,
    pressure: float,
    symmetry: int | None,
) -> tuple[Thermochemistry | None, str]:
    """Returns the thermochemistry, or why there is none."""
    if max_force > FORCE_LIMIT:
        return None, "the structure is no stationary point"
    free = int((np.abs(found.wavenumbers) < _FREE).sum())
    if free:
        return None, f"{free} modes without a restoring force; do the atoms feel each other?"
    if found.n_imaginary > 1:
        return None, f"{found.n_imaginary} imaginary modes; only minima and transition states"
    return (
        thermochemistry(
            atoms,
            energy,
            found.wavenumbers,
            found.shape,
            temperature=temperature,
            pressure=pressure,
            symmetry=symmetry,
            multiplicity=_multiplicity(System.from_atoms(atoms)),
        ),
        "",
    )
