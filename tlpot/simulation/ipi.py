"""Input of i-PI: ring-polymer dynamics with all beads in one evaluation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixAtoms

from tlpot.config import check_positive, check_seed
from tlpot.errors import ConfigError, GeometryError
from tlpot.files import check_replaced, make_folder, write_text
from tlpot.jobs import EnergyMethod
from tlpot.numbers import Floats
from tlpot.simulation.batch import BatchEvaluator
from tlpot.stored_results import write_json
from tlpot.structures import standard_form
from tlpot.system import System, check_system

DRIVER = Path(__file__).with_name("ipi_driver.py")
"""What i-PI loads, into its own process."""
VACUUM = 100.0
"""Å; i-PI wants a cell for a molecule, too, which no one reads."""


@dataclass(frozen=True, kw_only=True)
class RingPolymer:
    """Path-integral molecular dynamics.

    Attributes:
        beads: replicas of each atom; 1 is classical dynamics.
        batch_size: beads in one evaluation; None for all of them. i-PI waits for ever for the
            rest of a batch that the beads do not fill.
        ensemble: ``nvt`` by the path-integral Langevin equation (doi:10.1063/1.3489925), or
            ``nve``, which is ring-polymer molecular dynamics.
        temperature: K.
        timestep: fs.
        steps: number of steps.
        friction_time: of the centroid's thermostat, fs.
        stride: steps between lines and frames of the output.
        seed: of velocities and noise.
    """

    beads: int = 8
    batch_size: int | None = None
    ensemble: str = "nvt"
    temperature: float = 300.0
    timestep: float = 0.25
    steps: int = 1000
    friction_time: float = 100.0
    stride: int = 10
    seed: int = 1

    def check(self) -> None:
        """Checks that numbers make sense.

        Raises:
            ConfigError: one does not.
        """
        names = ("beads", "temperature", "timestep", "steps", "friction_time", "stride")
        check_positive(self, *names)
        check_seed(self.seed)
        if self.ensemble not in ("nvt", "nve"):
            raise ConfigError(f"ensemble is {self.ensemble!r}, expected 'nvt' or 'nve'")
        size = self.beads if self.batch_size is None else self.batch_size
        if size < 1 or self.beads % size:
            whole = [n for n in range(1, self.beads + 1) if self.beads % n == 0]
            raise ConfigError(
                f"batch_size is {size}, and {self.beads} beads do not fill whole batches of that, "
                f"for which i-PI would wait for ever; take one of {whole}"
            )


def write_ipi_input(
    folder: str | os.PathLike[str],
    atoms: Atoms,
    method: EnergyMethod,
    settings: RingPolymer | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Writes ``input.xml``, ``init.xyz`` and ``tlpot.json`` for the command ``i-pi input.xml``.

    Args:
        folder: is made; the command is to be given there.
        atoms: with charge and multiplicity as for calculators; periodic in all directions or in
            none. Crystals are turned so that the first lattice vector lies along x. Their masses
            are kept, and atoms that ``FixAtoms`` holds stay where they are.
        method: models by file or name.
        settings: of the dynamics.
        overwrite: whether files of these names may be replaced.

    Returns:
        The path of ``input.xml``.

    Raises:
        ConfigError: settings that make no sense, models that are objects, or constraints other
            than ``FixAtoms``.
        ModelFileError, UnknownLevelError: see `TLPotCalculator`.
        GeometryError: an unusable structure, or a charge that the model does not read.
        UnknownElementError: the model does not know an element.
        OutputError: the files could not be written, or are there already.
    """
    target = Path(folder)
    for name in ("input.xml", "init.xyz", "tlpot.json"):
        check_replaced(target / name, what="input of i-PI", overwrite=overwrite, option=None)
    chosen = settings or RingPolymer()
    chosen.check()
    system = System.from_atoms(atoms)
    check_system(system)
    if system.pbc.any() and not system.pbc.all():
        raise ConfigError(
            f"pbc is {system.pbc.tolist()}; i-PI has three periodic directions or none"
        )
    fixed, masses = _fixed(atoms), atoms.get_masses()
    if not (np.isfinite(masses).all() and masses.min() > 0):
        worst = int(np.argmin(np.where(np.isfinite(masses), masses, -np.inf)))
        raise GeometryError(
            f"atom {worst} ({atoms.symbols[worst]}) has the mass {masses[worst]:g}; set it with "
            "atoms.set_masses"
        )
    given = {
        "numbers": system.atomic_numbers.tolist(),
        "pbc": system.pbc.tolist(),
        "charge": system.charge,
        "spin": system.spin,
        "method": _plain(method.absolute()),
    }
    BatchEvaluator(method).check(system)
    make_folder(target)
    write_json(target / "tlpot.json", given)
    write_text(target / "init.xyz", _xyz(atoms))
    write_text(target / "input.xml", _xml(chosen, masses, fixed))
    return target / "input.xml"


def _plain(method: EnergyMethod) -> dict[str, Any]:
    """The arguments that are not left out, as JSON has them."""
    found = {field.name: getattr(method, field.name) for field in fields(method)}
    found = {key: value for key, value in found.items() if value is not None}
    for key, value in found.items():
        if not isinstance(value, str | bool | Mapping):
            raise ConfigError(
                f"{key} is a {type(value).__name__}, which i-PI's own process cannot have; give a "
                "file or a name"
            )
    return found


def _xyz(atoms: Atoms) -> str:
    """The structure with its cell as i-PI wants it: columns, upper triangular."""
    cell, positions = np.eye(3) * VACUUM, atoms.positions
    if atoms.pbc.all():
        cell, positions = standard_form(atoms)
    numbers = " ".join(f"{x:.10f}" for x in cell.T.ravel())
    lines = [f"{len(atoms)}", f"# CELL{{H}}: {numbers} cell{{angstrom}} positions{{angstrom}}"]
    for name, place in zip(atoms.get_chemical_symbols(), positions, strict=True):
        lines.append(f"{name:2} " + " ".join(f"{x:.10f}" for x in place))
    return "\n".join(lines) + "\n"


def _fixed(atoms: Atoms) -> list[int]:
    """Indices of the atoms that do not move, in order."""
    found: set[int] = set()
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise ConfigError(
                f"the constraint {type(constraint).__name__} cannot be written for i-PI, which "
                "holds whole atoms only: take FixAtoms, or remove it with atoms.set_constraint()"
            )
        found |= set(constraint.get_indices().tolist())
    if len(found) == len(atoms):
        raise ConfigError("all atoms are fixed by FixAtoms; leave some free to move")
    return sorted(found)


def _xml(settings: RingPolymer, masses: Floats, fixed: Sequence[int]) -> str:
    thermostat = ""
    if settings.ensemble == "nvt":
        tau = f"<tau units='femtosecond'> {settings.friction_time:g} </tau>"
        thermostat = f"\n        <thermostat mode='pile_g'> {tau} </thermostat>"
    kelvin = f"{settings.temperature:g}"
    held = ""
    if fixed:
        numbers = ", ".join(map(str, fixed))
        held = f"\n      <fixcom> False </fixcom>\n      <fixatoms> [ {numbers} ] </fixatoms>"
    # in atomic units: i-PI's own are those of natural elements, whatever the isotope
    weights = ", ".join(f"{mass:.10g}" for mass in masses * (units._amu / units._me))
    return f"""<simulation verbosity='medium'>
  <output prefix='run'>
    <properties filename='properties' stride='{settings.stride}'>
      [ step, time{{picosecond}}, conserved{{electronvolt}}, temperature{{kelvin}},
        kinetic_cv{{electronvolt}}, potential{{electronvolt}} ]
    </properties>
    <trajectory filename='positions' stride='{settings.stride}'> positions{{angstrom}} </trajectory>
    <checkpoint stride='{100 * settings.stride}'/>
  </output>
  <total_steps> {settings.steps} </total_steps>
  <prng> <seed> {settings.seed} </seed> </prng>
  <ffdirect name='tlpot'>
    <pes> custom </pes>
    <pes_path> {DRIVER} </pes_path>
    <batch_size> {settings.batch_size or settings.beads} </batch_size>
    <parameters> {{settings: tlpot.json}} </parameters>
  </ffdirect>
  <system>
    <initialize nbeads='{settings.beads}'>
      <file mode='xyz'> init.xyz </file>
      <masses mode='manual'> [ {weights} ] </masses>
      <velocities mode='thermal' units='kelvin'> {kelvin} </velocities>
    </initialize>
    <forces> <force forcefield='tlpot'/> </forces>
    <ensemble> <temperature units='kelvin'> {kelvin} </temperature> </ensemble>
    <motion mode='dynamics'>{held}
      <dynamics mode='{settings.ensemble}'>
        <timestep units='femtosecond'> {settings.timestep:g} </timestep>{thermostat}
      </dynamics>
    </motion>
  </system>
</simulation>
"""
