"""Units: everything inside tlpot is eV, Å, eV/Å, eV/Å³, e; conversion happens at the file boundary.

Factors come from `ase.units` (CODATA 2014), so that numbers agree with ASE's own readers.
"""

from __future__ import annotations

from ase import units as ase_units

from tlpot.errors import DataError, nearest

ENERGY = {
    "ev": 1.0,
    "mev": 1e-3,
    "hartree": ase_units.Hartree,
    "kcal/mol": ase_units.kcal / ase_units.mol,
    "kj/mol": ase_units.kJ / ase_units.mol,
    "rydberg": ase_units.Rydberg,
}
LENGTH = {"angstrom": 1.0, "bohr": ase_units.Bohr, "nm": ase_units.nm}


def energy_factor(unit: str) -> float:
    """Returns the factor from `unit` to eV.

    Raises:
        DataError: the unit is not known.
    """
    return _look_up(unit, ENERGY, "energy")


def length_factor(unit: str) -> float:
    """Returns the factor from `unit` to Å.

    Raises:
        DataError: the unit is not known.
    """
    return _look_up(unit, LENGTH, "length")


def force_factor(unit: str) -> float:
    """Returns the factor from a force unit written ``energy/length`` to eV/Å.

    Raises:
        DataError: the unit is not known.
    """
    energy, _, length = unit.rpartition("/")
    return _look_up(energy, ENERGY, "force") / _look_up(length, LENGTH, "force")


def stress_factor(unit: str) -> float:
    """Returns the factor from a stress unit (``gpa`` or ``energy/length^3``) to eV/Å³.

    Raises:
        DataError: the unit is not known.
    """
    if unit.lower() == "gpa":
        return float(ase_units.GPa)
    energy, _, volume = unit.rpartition("/")
    length = volume.removesuffix("^3")
    return _look_up(energy, ENERGY, "stress") / _look_up(length, LENGTH, "stress") ** 3


def _look_up(unit: str, table: dict[str, float], kind: str) -> float:
    try:
        return float(table[unit.lower()])
    except KeyError:
        raise DataError(f"unknown {kind} unit {unit!r}{nearest(unit.lower(), table)}") from None
