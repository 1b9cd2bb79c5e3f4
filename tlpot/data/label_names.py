"""Names that labels usually have: to tell what a file holds beside what is read from it."""

from __future__ import annotations

import re
from typing import Literal

Likeness = Literal["energy", "forces", "stress", "unit"]

_FORCES = {"force", "forces", "frc", "frcs", "gradient", "gradients", "grad", "grads", "grd"}
_STRESS = {"virial", "virials", "stress", "stresses", "pressure"}
_ENERGY = {
    "energy", "energies", "e", "ene", "etot", "toten", "totenergy", "totalenergy", "freeenergy",
    "en", "erg", "eng",
}  # fmt: skip
_UNIT = {"unit", "units"}
_OTHERS = {
    "kinetic", "ekin", "zero", "zpe", "gap", "homo", "lumo", "fermi", "max", "rms", "mean", "std",
    "sigma", "error", "errors", "weight", "weights", "mask", "cutoff", "constant", "constants",
    "threshold", "id", "index", "name", "time", "cost", "has", "uncertainty", "variance", "key",
    "solvation", "nuclear", "repulsion", "window",
}  # fmt: skip
_KNOWN_UNITS = re.compile(r"(ev)?/?(å|a|ang|angstrom)?(\^?3)?(,.*)?|metal", re.IGNORECASE)


def looks_like(key: str) -> Likeness | None:
    """Returns what label the name of an unread array suggests, None if none.

    Args:
        key: such as ``dft_forces``, ``TotEnergy`` or ``virial``.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)
    words = {word.lower() for word in re.split(r"[^A-Za-z]+", spaced) if word}
    joined = re.sub(r"[^a-z]", "", key.lower())
    if words & _UNIT:
        return "unit"
    if words & _OTHERS:
        return None
    if words & _FORCES or joined in _FORCES:
        return "forces"
    if words & _STRESS or joined in _STRESS:
        return "stress"
    if words & _ENERGY or joined in _ENERGY:
        return "energy"
    return None


def is_own_unit(text: str) -> bool:
    """Whether a unit is made of eV and Å, in which extended XYZ is read."""
    return bool(_KNOWN_UNITS.fullmatch(text.strip().replace(" ", "")))
