"""The function behind an OpenMM PythonForce; it needs nothing of OpenMM but its State."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units

from tlpot.energy import implies_charges
from tlpot.errors import ConfigError, GeometryError, SimulationError, TLPotError, TLPotWarning
from tlpot.jobs import EnergyMethod
from tlpot.models import LevelView, identity
from tlpot.neighbors import neighbor_list
from tlpot.numbers import Floats
from tlpot.system import System
from tlpot.topology import COVALENT, Topology, assumed_charges, perceive_topology

if TYPE_CHECKING:
    from tlpot.simulation.openmm_exceptions import RegionAlone

KILOJOULE = units.kJ / units.mol
"""1 kJ/mol in eV."""
NANOMETRE = units.nm
"""1 nm in Å."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """The atoms that a potential is for, in the order in which OpenMM hands them over.

    Attributes:
        numbers: atomic numbers, hydrogens that cap cut bonds included.
        names: what OpenMM's topology calls each atom, such as ``CA of ALA 3``.
        bonds: pairs of positions in these lists, those of the caps included.
        boxed: OpenMM has a periodic box.
        periodic: the region is evaluated with its periodic images; a single molecule of a mixed
            system is evaluated by itself.
        apart: Å, how far the region has to stay from its images; 0 for any distance.
        molecules: which molecule each atom belongs to.
        within_half: OpenMM takes for the distance of two atoms of the region that of their
            nearest images, so that no molecule in it may be longer than half the box.
        whole: nothing is outside of it, so that a charge which is not given is that of the bonds
            in the first structure.
        charge: total charge in e; None if none was given, or the model is not to be told one.
        spin: multiplicity 2S + 1, likewise.
        doubled: XML of what the force field counts within the region in addition, and what is
            therefore taken off, see `thin_exceptions`.
    """

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    bonds: tuple[tuple[int, int], ...]
    boxed: bool = False
    periodic: bool = False
    apart: float = 0.0
    molecules: tuple[int, ...] = ()
    within_half: bool = False
    whole: bool = False
    charge: int | None = None
    spin: int | None = None
    doubled: tuple[str, ...] = ()

    def atoms(self, positions: Floats, cell: Floats | None) -> Atoms:
        """Returns the region as the calculators of tlpot take it."""
        found = Atoms(self.numbers, positions)
        if self.periodic:
            found.set_cell(cell)
            found.pbc = True
        stated = {"charge": self.charge, "spin": self.spin}
        found.info.update({key: value for key, value in stated.items() if value is not None})
        return found


class PotentialFunction:
    """Energy and forces of a region in OpenMM's units, from an OpenMM State.

    OpenMM evaluates a PythonForce in full whenever it wants energies or forces, so the last
    result is kept: a step and the energy after it cost one evaluation.

    In XML it is the names of the models and its other settings, without any weights; models that
    were given as objects cannot be written.

    Args:
        method: what computes energies and forces.
        region: of which atoms.
    """

    def __init__(self, method: EnergyMethod, region: Region) -> None:
        self.method, self.region = method, region
        self.n_evaluations = 0
        self._opened: EnergyMethod | None = None
        self._weights: dict[str, Any] | None = None
        self._calculator: Any = None
        self._atoms: Atoms | None = None
        self._doubled: RegionAlone | None = None
        self._last: tuple[Floats, Floats | None, float, Floats] | None = None

    def open(self) -> EnergyMethod:
        """Opens the models, if they are not yet, and returns the method with them.

        Raises:
            ConfigError: arguments that make no sense, or another model than in the XML.
            ModelFileError, UnknownLevelError: see `TLPotCalculator`.
        """
        if self._opened is None:
            opened = self.method.opened()
            found = identity(opened.model) if isinstance(opened.model, LevelView) else None
            if self._weights is not None and found != self._weights:
                raise ConfigError(
                    f"the model {self.method.model!r} is not the one that the XML was written "
                    f"with: {found} instead of {self._weights}; give that one, or make the System "
                    "again"
                )
            self._opened, self._weights = opened, found
        return self._opened

    def __call__(self, state: Any) -> tuple[float, Floats]:
        """Returns the energy, kJ/mol, and the forces, [n_atoms, 3], kJ/mol/nm.

        Raises:
            TLPotError: whatever goes wrong, named in the text, as OpenMM passes on no more.
        """
        try:
            positions = NANOMETRE * state.getPositions(asNumpy=True)._value
            cell = None
            if self.region.boxed:
                cell = NANOMETRE * state.getPeriodicBoxVectors(asNumpy=True)._value
            energy, forces = self.evaluate(positions, cell)
        except TLPotError:
            raise
        except KeyboardInterrupt as error:
            raise SimulationError("interrupted (Ctrl-C) while the potential was at work") from error
        except Exception as error:
            # OpenMM keeps the text alone, and of a KeyError that is the key
            logging.getLogger("tlpot").exception("the potential failed in OpenMM")
            raise SimulationError(
                f"the potential failed: {type(error).__name__}: {error}"
            ) from error
        return energy / KILOJOULE, forces * (NANOMETRE / KILOJOULE)

    def evaluate(self, positions: Floats, cell: Floats | None = None) -> tuple[float, Floats]:
        """Returns the energy, eV, and the forces, [n_atoms, 3], eV/Å.

        Args:
            positions: [n_atoms, 3], Å.
            cell: [3, 3], rows, Å; None without a box.

        Raises:
            GeometryError: the structure is unusable, is torn, or comes too near to its images.
            SimulationError: energy or forces are not finite.
            TLPotError: see the calculators.
        """
        last = self._last
        if last is not None and np.array_equal(last[0], positions) and _same(last[1], cell):
            return last[2], last[3]
        if self._atoms is None:
            self._start(positions, cell)
        atoms = self._atoms
        assert atoms is not None
        atoms.positions[:] = positions
        if self.region.periodic:
            atoms.set_cell(cell)
        self.n_evaluations += 1
        forces = np.array(self._calculator.get_property("forces", atoms), dtype=np.float64)
        energy = float(self._calculator.get_property("energy", atoms))
        if self._doubled is not None:
            counted, pulls = self._doubled(positions / NANOMETRE)
            energy -= counted * KILOJOULE
            forces -= pulls * (KILOJOULE / NANOMETRE)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise SimulationError(
                f"the potential gives an energy of {energy} eV or forces that are not finite; look "
                "at the structure, minimise it by the force field first, or take a shorter step"
            )
        self._last = positions.copy(), None if cell is None else cell.copy(), energy, forces
        return energy, forces

    def _start(self, positions: Floats, cell: Floats | None) -> None:
        region = self.region
        if len(positions) != len(region.numbers):
            raise GeometryError(
                f"OpenMM gives {len(positions)} positions for a region of {len(region.numbers)}"
            )
        self._check_bonds(positions, cell)
        if cell is not None:
            self._check_images(positions, cell)
        atoms = region.atoms(positions, cell)
        if self.method.scheme is not None:
            self._check_topology(perceive_topology(atoms, labels=region.names))
        calculator, _ = self.open().calculator(atoms)
        if region.whole and region.charge is None and self.method.scheme is None:
            _name_charge(atoms, self.open().model, region.names)
        if region.doubled:
            from tlpot.simulation.openmm_exceptions import RegionAlone

            self._doubled = RegionAlone(region.doubled)
        self._calculator, self._atoms = calculator, atoms

    def _check_bonds(self, positions: Floats, cell: Floats | None) -> None:
        """Refuses atoms at one place, as caps are before they are computed, and torn molecules."""
        region = self.region
        if not region.bonds:
            return
        i, j = np.array(region.bonds).T
        vectors = positions[j] - positions[i]
        lengths = np.linalg.norm(vectors, axis=1)
        for k in np.flatnonzero(lengths < 0.1):
            raise GeometryError(
                f"{region.names[i[k]]} and {region.names[j[k]]} are at the same place; where bonds "
                "are capped, call context.computeVirtualSites() after setPositions"
            )
        if cell is None or (region.periodic and not region.within_half):
            return
        torn = np.abs(vectors @ np.linalg.inv(cell)).max(axis=1) > 0.5
        for k in np.flatnonzero(torn):
            raise GeometryError(
                f"the bond of {region.names[i[k]]} and {region.names[j[k]]} leads through the "
                f"boundary of the box ({lengths[k]:.1f} Å); OpenMM's own terms need molecules in "
                "one piece: make them whole before setPositions"
            )

    def _check_images(self, positions: Floats, cell: Floats) -> None:
        region = self.region
        fractional, owner = positions @ np.linalg.inv(cell), np.array(region.molecules)
        for molecule in set(region.molecules) if region.within_half else ():
            atoms = np.flatnonzero(owner == molecule)
            long = np.ptp(fractional[atoms], axis=0).max()
            if long > 0.5:
                raise GeometryError(
                    f"the molecule of {region.names[atoms[0]]} takes {100 * long:.0f} % of the "
                    "box, more than half, where openmmml takes its ends for neighbours; take a "
                    "larger box, or make it the only molecule of the region, without interpolate"
                )
        if not region.apart:
            return
        system = System(
            atomic_numbers=np.array(region.numbers),
            positions=positions,
            cell=cell,
            pbc=np.ones(3, dtype=bool),
        )
        pairs = neighbor_list(system, region.apart, "the region", closest=0.0)
        met = np.flatnonzero(pairs.shifts.any(axis=1))
        if met.size:
            a, b = region.names[pairs.center[met[0]]], region.names[pairs.neighbor[met[0]]]
            raise GeometryError(
                f"{a} is within {region.apart:.1f} Å, the cutoff of the force field, of a periodic "
                f"image of {b}, which is in the region, too, so the force field would leave their "
                "interaction out; take a larger box"
            )

    def _check_topology(self, topology: Topology) -> None:
        """Refuses fragments of other molecules than OpenMM's topology says."""
        known = {(min(pair), max(pair)) for pair in self.region.bonds}
        seen = {(int(a), int(b)) for a, b in topology.bonds}
        covalent = [z in COVALENT for z in self.region.numbers]
        for pairs, what in ((known - seen, "is broken"), (seen - known, "is new")):
            for a, b in sorted(pairs):
                if covalent[a] and covalent[b]:  # metals bind their first shell unasked
                    raise GeometryError(
                        f"in the first structure the bond of {self.region.names[a]} and "
                        f"{self.region.names[b]} {what}, going by OpenMM's topology; minimise it "
                        "by the force field first, or mend the bonds of the topology"
                    )

    def __getstate__(self) -> dict[str, Any]:
        """Returns settings only, for OpenMM's XML.

        Raises:
            ConfigError: models that are objects; OpenMM then writes no XML.
        """
        for name in ("model", "low"):
            given = getattr(self.method, name)
            if given is not None and not isinstance(given, str):
                raise ConfigError(
                    f"{name} is a {type(given).__name__}, which cannot be written to XML; give a "
                    "file or a name"
                )
        return {"method": self.method, "region": self.region, "weights": self._weights}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["method"], state["region"])  # type: ignore[misc]
        self._weights = state["weights"]


def _name_charge(atoms: Atoms, model: Any, names: Sequence[str]) -> None:
    """States, in place, the charge that the bonds tell, as the reader of structures does.

    Raises:
        ConfigError: there is one, and the model does not know charges.
    """
    try:
        charge = perceive_topology(atoms, labels=names).charge
    except GeometryError as error:
        if model.uses_charge:
            _warn_of_charge(f"0, as bonds do not tell it ({str(error).partition(':')[0]}")
        return
    if charge and not (model.uses_charge or implies_charges(model)):
        raise ConfigError(
            f"the system has charge {charge:+d}, going by its bonds, and the model does not read "
            "charges; use one that does, or fragments (scheme=), or give createSystem charge=0 if "
            "it was trained on such molecules"
        )
    if model.uses_charge and (assumed := assumed_charges(atoms.numbers)):
        _warn_of_charge(f"{charge:+d} ({assumed}")
    if charge:
        atoms.info["charge"] = charge


def _warn_of_charge(taken: str) -> None:
    warnings.warn(
        f"the charge of the system is taken for {taken}); charge= of createSystem states it",
        TLPotWarning,
        stacklevel=2,
    )


def _same(a: Floats | None, b: Floats | None) -> bool:
    return a is b is None or (a is not None and b is not None and np.array_equal(a, b))
