"""Protons that donors of metals cannot keep: a lone pair that binds a metal holds none."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlpot.fragments.bonds import METAL_REACH
from tlpot.fragments.elements import COVALENT, LABILE, NOBLE, RADII

_HISTIDINE = {("ND1",): "HIE", ("NE2",): "HID", ("ND1", "NE2"): "HIN"}
"""Where the proton of a histidine is, by the nitrogens that bind metals."""

_ALCOHOLS = ("SER", "THR", "HYP")
_WATERS = ("HOH", "WAT", "DOD", "H2O", "TIP", "TIP3", "SOL")


def free_donors(fixer: Any, ph: float, notes: list[str]) -> None:
    """Takes protons off the donors of metals in a `PDBFixer` that has added all hydrogens.

    Thiols, imidazoles, carboxylic acids and phenols bind metals without a proton, amines with
    two; waters and alcohols keep theirs. A histidine gets its proton on the nitrogen that is
    free. Alkali metals do not count.

    Args:
        fixer: changed in place.
        ph: of the hydrogens.
        notes: gets a line for each donor.
    """
    from openmm import app

    donors = _donors(fixer)
    if not donors:
        return
    variants: dict[Any, str] = {}
    for residue in {atom.residue for atom in donors}:
        if residue.name.upper() in ("HIS", "HID", "HIE", "HIP", "HIN"):
            bound = tuple(sorted(a.name for a in donors if a.residue == residue))
            variants[residue] = _HISTIDINE.get(bound, "")
    modeller = app.Modeller(fixer.topology, fixer.positions)
    doomed = _protons(fixer.topology, donors)
    imidazole = [
        atom for atom in fixer.topology.atoms()
        if variants.get(atom.residue) and atom.name in ("HD1", "HE2")
    ]  # fmt: skip
    for atom in donors:
        if any(parent is atom for _, parent in doomed):
            notes.append(f"{_label(atom.residue)}: no proton on {atom.name}, which binds a metal")
    modeller.delete([*{*(h for h, _ in doomed), *imidazole}])
    if imidazole or any(variants.values()):
        order = {residue.index: variant for residue, variant in variants.items() if variant}
        wanted = [order.get(residue.index) for residue in modeller.topology.residues()]
        modeller.addHydrogens(pH=ph, variants=wanted)
        fixer.topology, fixer.positions = modeller.topology, modeller.positions
        again = _protons(fixer.topology, _donors(fixer))
        modeller = app.Modeller(fixer.topology, fixer.positions)
        modeller.delete([h for h, _ in again])
    fixer.topology, fixer.positions = modeller.topology, modeller.positions


def _donors(fixer: Any) -> list[Any]:
    """The nitrogen, oxygen, sulfur and selenium atoms in the first shell of a metal."""
    from openmm import unit

    atoms = [atom for atom in fixer.topology.atoms() if atom.element is not None]
    numbers = np.array([atom.element.atomic_number for atom in atoms])
    positions = np.array(fixer.positions.value_in_unit(unit.angstrom))
    positions = positions[[atom.index for atom in atoms]]
    metals = np.flatnonzero(~np.isin(numbers, list(COVALENT | LABILE | NOBLE)))
    able = np.flatnonzero(np.isin(numbers, (7, 8, 16, 34)))
    found: set[int] = set()
    for metal in metals:
        distances = np.linalg.norm(positions[able] - positions[metal], axis=1)
        reach = METAL_REACH * (RADII[numbers[metal]] + RADII[numbers[able]])
        found |= set(able[distances < reach].tolist())
    return [atoms[k] for k in sorted(found)]


def _protons(topology: Any, donors: list[Any]) -> list[tuple[Any, Any]]:
    """Pairs of a hydrogen that must go and the donor that it is on."""
    held: dict[Any, list[Any]] = {atom: [] for atom in donors}
    for bond in topology.bonds():
        for one, other in ((bond[0], bond[1]), (bond[1], bond[0])):
            is_hydrogen = other.element is not None and other.element.atomic_number == 1
            if one in held and is_hydrogen:
                held[one].append(other)
    return [(h, atom) for atom, hs in held.items() for h in hs[_allowed(atom) :]]


def _allowed(atom: Any) -> int:
    """How many hydrogens a donor keeps."""
    name = atom.residue.name.upper()
    if name in _WATERS or (atom.element.atomic_number == 7 and not name.startswith("HI")):
        return 2
    if name.startswith("HI") and atom.name == "N":
        return 2
    return int(name in _ALCOHOLS)


def _label(residue: Any) -> str:
    return f"{residue.chain.id}/{residue.name} {residue.id}{residue.insertionCode.strip()}"
