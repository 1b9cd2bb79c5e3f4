"""Comment lines of XYZ files that programs write in words of their own, without ``key=value``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase.geometry import cellpar_to_cell
from numpy.typing import NDArray

from tlpot.data.spec import looks_like
from tlpot.errors import DataError
from tlpot.units import energy_factor, length_factor

COMMENT_ENERGY = "comment_energy"
"""What an energy in free text is called: nothing reads it that does not name it."""

_TWO_NUMBERS = re.compile(r"\s*([+-]?\d{1,2})\s+(\d)\s*")
"""A comment line of charge and multiplicity."""
_MOST_CHARGED = 6

_NUMBER = r"([+-]?\d+\.\d+(?:[eE][+-]?\d+)?)"
_HARTREE = (
    re.compile(rf"\s*energy:\s*{_NUMBER}\s+(?:gnorm|xtb):?.*"),  # xTB
    re.compile(rf"Coordinates from ORCA-job\s.*\bE\s+{_NUMBER}\s*"),
    re.compile(rf"Iteration \d+ Energy\s+{_NUMBER}\s*"),  # geomeTRIC
)
_SAID = re.compile(
    rf"(?:.*\s)?(?:energy|e|etot|scf done)\s*:?\s+{_NUMBER}(?:\s+([a-z./]+))?(?:[\s,;].*)?",
    re.IGNORECASE,
)
_BOHR = re.compile(r"(?<![\w/])bohr(?![\w/^])", re.IGNORECASE)
_ALONE = re.compile(r"\s*([+-]?\d+\.\d{4,})(?:\s*!.*)?\s*")
"""A number alone, as CREST writes it; with fewer digits it may be a time or a charge."""
_ATOMIC = dict.fromkeys(("au", "a.u.", "a.u", "(a.u.)", "[a.u.]"), "hartree")
_CP2K = {"i", "time", "E"}

_IPI_CELL = re.compile(r"CELL[(\[{](\w+)[)\]}]:\s*((?:[-+0-9.eE]+\s+){6,9})")
_IPI_UNITS = re.compile(r"\b([A-Za-z]\w*)\{([A-Za-z_]*)\}")
_IPI_POSITIONS = ("positions", "x_centroid")
_IPI_LENGTHS = {"atomic_unit": "bohr", "angstrom": "angstrom", "nanometer": "nm"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramComment:
    """What a comment line says.

    Attributes:
        info: by key.
        units: that are stated, by key of `info`.
        length: Å; the unit of the positions.
        cell: [3, 3], Å, rows are lattice vectors, where the line has one.
    """

    info: dict[str, Any] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    length: float = 1.0
    cell: NDArray[np.float64] | None = None


def read_program_comment(comment: str, n_protons: int) -> ProgramComment:
    """Reads free text: charge and multiplicity, an energy, or a line of i-PI.

    Args:
        comment: a line without ``key=value``.
        n_protons: of the frame.

    Raises:
        ValueError: a line of i-PI with other numbers than positions, or an unknown unit.
    """
    if "CELL" in comment and (cell := _IPI_CELL.search(comment)):
        return _ipi(comment, cell)
    for form in _HARTREE:
        if found := form.fullmatch(comment):
            return ProgramComment(
                info={COMMENT_ENERGY: float(found.group(1))}, units={COMMENT_ENERGY: "hartree"}
            )
    if found := _SAID.fullmatch(comment):
        unit = _ATOMIC.get((found.group(2) or "").lower(), found.group(2) or "")
        units = {COMMENT_ENERGY: unit} if _is_energy_unit(unit) else {}
        return ProgramComment(info={COMMENT_ENERGY: float(found.group(1))}, units=units)
    if found := _ALONE.fullmatch(comment):
        return ProgramComment(info={COMMENT_ENERGY: float(found.group(1))})
    return ProgramComment(info=_charge_and_spin(comment, n_protons))


def units_beside(info: Mapping[str, Any]) -> dict[str, str]:
    """Returns the units of energies that stand behind their numbers, as in ``E=-76.4 Eh``, by key.

    A trajectory of CP2K, whose keys are those that its comment lines have, is in hartree.
    """
    found = {}
    before = ""
    for key, value in info.items():
        unit = _ATOMIC.get(key.lower(), key.strip("()[],;"))
        if value is True and looks_like(before) == "energy" and _is_energy_unit(unit):
            found[before] = unit
        before = "" if value is True else key
    return found | ({"E": "hartree"} if info.keys() == _CP2K else {})


def _is_energy_unit(word: str) -> bool:
    try:
        energy_factor(word)
    except DataError:
        return False
    return True


def _ipi(comment: str, cell: re.Match[str]) -> ProgramComment:
    """Reads what i-PI writes: the cell, what the numbers are, and the units of both."""
    units = dict(_IPI_UNITS.findall(comment))
    cell_unit = units.pop("cell", "")
    quantity, unit = next(iter(units.items()), ("positions", ""))
    if not quantity.startswith(_IPI_POSITIONS):
        raise ValueError(f"it holds {quantity} of i-PI; expected a file of its positions")
    for what, each in ((quantity, unit), ("cell", cell_unit)):
        if each not in _IPI_LENGTHS:
            raise ValueError(
                f"the comment line of i-PI has {what} in {each or 'no unit'!r}; expected "
                f"{what}{{angstrom}} or {what}{{atomic_unit}} (i-PI's own, where none is named)"
            )
    numbers = [float(word) for word in cell.group(2).split()]
    if cell.group(1) != "abcABC" or len(numbers) != 6:
        raise ValueError(
            f"the comment line of i-PI has CELL({cell.group(1)}); expected CELL(abcABC), three "
            "lengths and three angles"
        )
    factor = length_factor(_IPI_LENGTHS[cell_unit])
    return ProgramComment(
        length=length_factor(_IPI_LENGTHS[unit]),
        cell=cellpar_to_cell([*(x * factor for x in numbers[:3]), *numbers[3:]]),
    )


def _charge_and_spin(comment: str, n_protons: int) -> dict[str, Any]:
    """Reads a comment such as ``1 2``, as programs of quantum chemistry take it, if it can be."""
    words = _TWO_NUMBERS.fullmatch(comment)
    if words is None:
        return {}
    charge, spin = (int(word) for word in words.groups())
    fits = spin >= 1 and (n_protons - charge + spin) % 2 == 1 and abs(charge) <= _MOST_CHARGED
    return {"charge": charge, "spin": spin} if fits else {}


def worth_a_warning(comment: str, info: Mapping[str, Any]) -> str:
    """Returns what to say of a comment line that may be understood in another way, or nothing.

    That is a charge or multiplicity that only two numbers state, and a word for a length that is
    not the one that positions are read in.

    Args:
        comment: the line.
        info: what was read from it.
    """
    if _BOHR.search(comment):
        return (
            f"the comment line {comment.strip()!r} speaks of bohr, and positions are read in Å; if "
            "they are in bohr, multiply them by 0.529177"
        )
    stated = info.get("charge"), info.get("spin")
    if _TWO_NUMBERS.fullmatch(comment) is None or stated in ((None, None), (0, 1)):
        return ""
    return (
        f"the comment line {comment.strip()!r} is read as charge {stated[0]} and "
        f"multiplicity {stated[1]}; if it is neither, write another comment"
    )
