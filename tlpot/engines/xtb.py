"""GFN1-xTB and GFN2-xTB through tblite.

C. Bannwarth et al., doi:10.1021/acs.jctc.8b01176 (GFN2); S. Grimme et al.,
doi:10.1021/acs.jctc.7b00118 (GFN1).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import Bohr, Hartree, kB

from tlpot.config import parse, to_mapping
from tlpot.data import Labels
from tlpot.engines.engine import LabelError, check_electrons
from tlpot.engines.registry import EngineName
from tlpot.errors import ConfigError, MissingExtraError
from tlpot.system import System
from tlpot.total_charge import charge_and_spin

METHODS = {
    "gfn2-xtb": ("GFN2-xTB", "10.1021/acs.jctc.8b01176"),
    "gfn1-xtb": ("GFN1-xTB", "10.1021/acs.jctc.7b00118"),
}
"""What tblite calls them, and where they were published."""

_LAST_ELEMENT = 86


@dataclass(frozen=True, kw_only=True, slots=True)
class XTBSettings:
    """Settings of tblite.

    Attributes:
        accuracy: scales all convergence thresholds; smaller is tighter.
        electronic_temperature: K.
        max_iterations: of the self-consistent charges.
    """

    accuracy: float = 1.0
    electronic_temperature: float = 300.0
    max_iterations: int = 250

    def __post_init__(self) -> None:
        if self.accuracy <= 0 or self.electronic_temperature < 0 or self.max_iterations < 1:
            raise ConfigError(
                "accuracy and max_iterations must be positive and electronic_temperature "
                f"not negative; found {to_mapping(self)}"
            )


def make_engine(name: EngineName, label: str | None) -> XTBEngine:
    """Makes the engine of a name, see `tlpot.engines.registry`."""
    return XTBEngine(name.kind, parse(XTBSettings, name.settings, f"engine {name.text}"))


class XTBEngine:
    """A tight-binding engine.

    Args:
        name: one of `METHODS`.
        settings: of tblite.

    Raises:
        MissingExtraError: tblite is not installed.
    """

    has_forces = True

    def __init__(self, name: str, settings: XTBSettings) -> None:
        self._tblite = _tblite("interface", f"engine {name}")
        self._name, self._settings = name, settings

    @property
    def level(self) -> str:
        """The method."""
        return self._name

    @property
    def definition(self) -> Mapping[str, Any]:
        """Program, version and thresholds."""
        method, doi = METHODS[self._name]
        settings = to_mapping(self._settings)
        del settings["max_iterations"]  # it decides whether, not what
        return {
            "engine": self._name,
            "method": method,
            "program": f"tblite {version('tblite')}",
            **settings,
            "references": [f"doi:{doi}"],
        }

    def check(self, elements: Sequence[int], *, periodic: bool) -> None:
        """Checks that the parameters cover the elements.

        Raises:
            ConfigError: an element beyond radon.
        """
        beyond = [z for z in elements if z > _LAST_ELEMENT]
        if beyond:
            raise ConfigError(
                f"{self._name} has parameters up to element {_LAST_ELEMENT}, and there is "
                f"element {beyond[0]}; leave these structures out"
            )

    def compute(self, system: System, *, forces: bool, log: TextIO) -> Labels:
        """Computes energy and forces.

        Raises:
            LabelError: no convergence.
        """
        check_electrons(system)
        settings = self._settings
        try:
            calculator = self._tblite.Calculator(
                METHODS[self._name][0],
                system.atomic_numbers,
                system.positions / Bohr,
                charge=float(system.charge),
                uhf=system.spin - 1,
                lattice=system.cell / Bohr if system.pbc.any() else None,
                periodic=system.pbc if system.pbc.any() else None,
            )
            calculator.set("verbosity", 0)
            calculator.set("accuracy", settings.accuracy)
            # tblite takes temperatures as energies
            calculator.set("temperature", settings.electronic_temperature * kB / Hartree)
            calculator.set("max-iter", settings.max_iterations)
            result = calculator.singlepoint()
        except RuntimeError as error:
            log.write(str(error))
            raise LabelError(f"tblite: {str(error).strip()}") from error
        gradient = np.array(result.get("gradient")) if forces else None
        return Labels(
            energy=float(result.get("energy")) * Hartree,
            forces=None if gradient is None else -gradient * (Hartree / Bohr),
        )

    def use_threads(self, n: int | None) -> int:
        """Returns the number of threads, which OpenMP read from the environment at its start."""
        return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def xtb_calculator(atoms: Atoms, name: str, purpose: str) -> Calculator:
    """Returns the ASE calculator of tblite, for trajectories.

    It starts each density from the one before, so that its energies depend on what came before
    (within the threshold of convergence); those of `XTBEngine` do not.

    Args:
        atoms: with charge and multiplicity, see `tlpot.total_charge.charge_and_spin`.
        name: one of `METHODS`.
        purpose: what it is for.

    Raises:
        GeometryError: a charge or multiplicity that is ambiguous or cannot be.
        MissingExtraError: tblite is not installed.
    """
    charge, spin = charge_and_spin(
        atoms.info, atoms.arrays, int(atoms.numbers.sum()), periodic=bool(atoms.pbc.any())
    )
    calculator: Calculator = _tblite("ase", purpose).TBLite(
        method=METHODS[name][0],
        charge=charge,
        multiplicity=spin,
        verbosity=0,
    )
    return calculator


def _tblite(part: str, purpose: str) -> Any:
    try:
        return importlib.import_module(f"tblite.{part}")
    except ImportError as error:
        raise MissingExtraError("tblite", "xtb", purpose) from error
