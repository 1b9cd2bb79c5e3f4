"""Harmonic frequencies and thermochemistry of a structure with a model."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from tlpot.dynamics import (
    Frequencies,
    HarmonicModes,
    Relaxation,
    RelaxationSettings,
    Thermochemistry,
    check_conditions,
    check_results,
    check_stationary,
    free_atoms,
    harmonic_modes,
    hessian_of,
    relaxation_steps,
    thermochemistry,
    turns_freely,
    write_modes,
    write_molden,
)
from tlpot.errors import SimulationError, TLPotWarning
from tlpot.files import make_folder
from tlpot.jobs.calculator import (
    EnergyMethod,
    Structure,
    check_masses,
    check_result_files,
    domain_of,
    labelled,
    open_structure,
    precision_of,
    steps_bar,
)
from tlpot.system import System

FORCE_LIMIT = 0.01
"""Largest force of a stationary point, eV/Å."""
_ALONE = "a molecule alone in a box, whose rotations are among the vibrations"
_UNBOXED = (
    f"the structure is {_ALONE}; for the vibrations and the ideal gas of the molecule take the box "
    'away: atoms.pbc = False, or pbc="F F F" in the file'
)
_FREE = 1e-2
"""cm⁻¹ below which a mode has no restoring force, and no entropy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrequencySettings:
    """Settings of harmonic vibrations; impossible values raise a `ConfigError`.

    Attributes:
        relaxation: relax the structure first, in this way; None does not.
        allow_forces: go on where a force is larger than 0.01 eV/Å. There is no thermochemistry.
        temperature: of the thermochemistry, K.
        pressure: of the ideal gas, bar; the default is 1 atm.
        symmetry: rotational symmetry number; None finds it, see
            `tlpot.dynamics.frequencies.symmetry_number`.
    """

    relaxation: RelaxationSettings | None = None
    allow_forces: bool = False
    temperature: float = 298.15
    pressure: float = 1.01325
    symmetry: int | None = None

    def __post_init__(self) -> None:
        check_conditions(self.temperature, self.pressure, self.symmetry)


def frequencies_of(
    structure: Structure,
    method: EnergyMethod,
    settings: FrequencySettings,
    *,
    charge: int | None = None,
    spin: int | None = None,
    modes: str | os.PathLike[str] | None = None,
    molden: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Frequencies:
    """Computes harmonic vibrations; `tlpot.frequencies` says what the arguments are.

    Raises:
        TLPotError: see `tlpot.frequencies`.
    """
    files = {"modes": modes, "molden": molden}
    written = check_result_files(files, structure, overwrite=overwrite)
    atoms, notes = open_structure(structure, charge=charge, spin=spin)
    free_atoms(atoms)
    check_masses(atoms)
    calculator, words = method.calculator(atoms)
    atoms.calc = calculator
    before = None
    if settings.relaxation is not None:
        before = _relaxed(atoms, settings.relaxation, words)
    energy = check_results(atoms)
    max_force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    domain = domain_of(calculator)
    if not settings.allow_forces:
        remedy = "relax it first (--relax, relax=True), or go on all the same with "
        check_stationary(max_force, FORCE_LIMIT, remedy + "--not-relaxed (allow_forces=True)")
    with steps_bar(desc="Hessian") as bar:

        def told(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        hessian, derivatives = hessian_of(atoms, calculator, on_row=told)
    atoms.get_forces()  # of the structure itself again, should differences have moved it
    known = labelled(atoms)
    found = harmonic_modes(known, hessian)
    alone = turns_freely(known, hessian)
    if alone:
        warnings.warn(_UNBOXED, TLPotWarning, stacklevel=3)
    thermal, reason = _thermal(known, energy, found, max_force, settings, alone=alone)
    for path, write in ((modes, write_modes), (molden, write_molden)):
        if path is not None:
            make_folder(Path(path).parent)
            write(known, found, path)
    return Frequencies(
        atoms=known,
        method=words,
        derivatives=derivatives,
        precision=precision_of(calculator),
        energy=energy,
        max_force=max_force,
        stationary=max_force <= FORCE_LIMIT,
        hessian=hessian,
        modes=found,
        thermochemistry=thermal,
        no_thermochemistry=reason,
        symmetry_found=settings.symmetry is None,
        domain=domain,
        relaxation=before,
        notes=notes,
        files=written,
    )


def _relaxed(atoms: Atoms, settings: RelaxationSettings, method: str) -> Relaxation:
    start, found = atoms.copy(), []
    with steps_bar(desc="relaxation") as bar:
        for step in relaxation_steps(atoms, settings):
            found.append(step)
            bar.set_postfix_str(f"force {step.max_force:.4f} eV/Å", refresh=False)
            bar.update(step.step - bar.n)
    found[-1].put(atoms)
    result = Relaxation.of_steps(start, labelled(atoms), settings, found, method=method)
    if not result.converged:
        raise SimulationError(result.remedy)
    return result


def _multiplicity(system: System) -> int:
    """That of the structure; a radical that states none, to a model that reads none, is a doublet.

    Models and engines that read it have refused the structure by then: it may be an ion.
    """
    odd = (int(system.atomic_numbers.sum()) - system.charge + system.spin) % 2 == 0
    return system.spin + 1 if odd and not system.pbc.any() else system.spin


def _thermal(
    atoms: Atoms,
    energy: float,
    found: HarmonicModes,
    max_force: float,
    settings: FrequencySettings,
    *,
    alone: bool,
) -> tuple[Thermochemistry | None, str]:
    """Returns the thermochemistry, or why there is none."""
    if max_force > FORCE_LIMIT:
        return None, "the structure is no stationary point"
    if alone:
        return None, _ALONE
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
            temperature=settings.temperature,
            pressure=settings.pressure,
            symmetry=settings.symmetry,
            multiplicity=_multiplicity(System.from_atoms(atoms)),
        ),
        "",
    )
