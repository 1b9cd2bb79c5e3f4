"""Charge and multiplicity of a structure, brought to the names that tlpot uses."""

from __future__ import annotations

from ase import Atoms

from tlpot.errors import GeometryError
from tlpot.system import stated_charge_of
from tlpot.total_charge import charge_and_spin, stated_charge


def name_charge(
    atoms: Atoms, where: str, *, charge_key: str | None = None, spin_key: str | None = None
) -> None:
    """Keeps what a structure states, in place, as ``info["charge"]`` and ``info["spin"]`` only.

    Other keys that state them, initial charges and magnetic moments go: what reads the structure
    later finds one answer. What is not stated stays so.

    Args:
        atoms: changed in place.
        where: file and frame, for messages.
        charge_key: the only key of ``info`` to read the charge from.
        spin_key: the only key of ``info`` to read the multiplicity from.

    Raises:
        GeometryError: see `tlpot.total_charge.stated_charge`; the message says where.
    """
    try:
        if charge_key is None and spin_key is None:
            found = stated_charge_of(atoms)
        else:
            found = stated_charge(
                atoms.info, atoms.arrays, int(atoms.numbers.sum()),
                charge_key=charge_key, spin_key=spin_key, periodic=bool(atoms.pbc.any()),
            )  # fmt: skip
    except GeometryError as error:
        raise GeometryError(f"{where}: {error}") from None
    for key in found.keys | {"initial_charges", "initial_magmoms"}:
        atoms.info.pop(key, None)
        atoms.arrays.pop(key, None)
    if found.charge is not None:
        atoms.info["charge"] = found.charge
    if found.spin is not None:
        atoms.info["spin"] = found.spin


def check_charge(atoms: Atoms, where: str) -> None:
    """Checks that a molecule's electrons can have its multiplicity.

    The electrons of a periodic cell need not be a whole molecule's, so any number passes.

    Args:
        atoms: the structure.
        where: what to call it in a message.

    Raises:
        GeometryError: they cannot, or their number is odd and no multiplicity is stated.
    """
    if atoms.pbc.any():
        return
    try:
        charge_and_spin(atoms.info, atoms.arrays, int(atoms.numbers.sum()))
    except GeometryError as error:
        raise GeometryError(f"{where}: {error}") from None
