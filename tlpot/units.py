"""Units: everything inside tlpot is eV, Å, eV/Å, eV/Å³, e; conversion happens at the file boundary.

Factors come from `ase.units` (CODATA 2014), so that numbers agree with ASE's own readers.
"""

from __future__ import annotations

import re

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
PRESSURE = {
    "gpa": ase_units.GPa,
    "mpa": 1e6 * ase_units.Pascal,
    "kpa": 1e3 * ase_units.Pascal,
    "pa": ase_units.Pascal,
    "kbar": 1e3 * ase_units.bar,
    "bar": ase_units.bar,
    "atm": 1.01325 * ase_units.bar,
}
_SPELLINGS = {
    "ha": "hartree", "eh": "hartree", "ry": "rydberg", "å": "angstrom", "a": "angstrom",
    "ang": "angstrom", "a0": "bohr", "gigapascal": "gpa", "kilobar": "kbar", "kb": "kbar",
}  # fmt: skip


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
    """Returns the factor from a stress unit to eV/Å³.

    Args:
        unit: a pressure such as ``gpa`` or ``kbar``, or ``energy/length^3``.

    Raises:
        DataError: the unit is not known, or is a millibar or a megabar.
    """
    text = unit.strip()
    if text == "Mbar":
        return float(1e6 * ase_units.bar)
    if text.lower() == "mbar":
        raise DataError(f"the stress unit {unit!r} may be milli or mega; write Mbar, or kbar")
    if "/" not in text:
        return _look_up(text, PRESSURE, "stress")
    text = re.sub(r"/([^/]+)/\1/\1$", r"/\1^3", text)  # eV/Ang/Ang/Ang
    energy, _, volume = text.rpartition("/")
    length = volume.strip().removesuffix("³").removesuffix("3").rstrip("^*")
    if length == volume.strip():
        raise DataError(f"unknown stress unit {unit!r}; expected gpa, kbar, or energy/length^3")
    return _look_up(energy, ENERGY, "stress") / _look_up(length, LENGTH, "stress") ** 3


def _look_up(unit: str, table: dict[str, float], kind: str) -> float:
    text = unit.strip().lower()
    try:
        return float(table[_SPELLINGS.get(text, text)])
    except KeyError:
        raise DataError(f"unknown {kind} unit {unit!r}{nearest(text, table)}") from None
