"""Total charge and multiplicity as structures state them, under the names that programs use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tlpot.errors import GeometryError
from tlpot.numbers import Floats

CHARGE_ARRAYS = ("initial_charges", "formal_charges", "charges")
"""Charges of the atoms, which add up to the total."""

MOMENT_ARRAYS = ("initial_magmoms", "magmoms")
"""Magnetic moments of the atoms, which add up to the number of unpaired electrons."""

_CHARGES = {
    "charge", "totalcharge", "netcharge", "chargetotal", "totcharge", "molcharge",
    "moleculecharge", "molecularcharge", "systemcharge", "formalcharge", "totalformalcharge",
    "qtotal", "qtot", "totalq",
}  # fmt: skip
_MULTIPLICITIES = {
    "spin", "multiplicity", "mult", "spinmultiplicity", "spinmult", "multspin",
}  # fmt: skip
_UNPAIRED = {
    "uhf", "nunpaired", "unpaired", "unpairedelectrons", "nunpairedelectrons", "numunpaired",
    "magmom", "totalmagmom", "totalmagneticmoment", "2s",
}  # fmt: skip
_SETTINGS = {"hamiltoniancharge", "chargestate"}
"""Keywords for the total charge that only settings of programs have."""

_WHOLE = 1e-3
"""Largest distance of a stated charge or multiplicity from a whole number."""

_SUM = 0.05
"""The same for sums of partial charges, which files round for each atom."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatedCharge:
    """What a structure says about its charge and multiplicity.

    Attributes:
        charge: total charge in e; None where nothing is said.
        spin: multiplicity 2S + 1; None where nothing is said.
        keys: the keys and arrays that say so.
    """

    charge: int | None = None
    spin: int | None = None
    keys: frozenset[str] = frozenset()


def stated_charge(
    info: Mapping[str, Any],
    arrays: Mapping[str, Any],
    n_protons: int,
    *,
    charge_key: str | None = None,
    spin_key: str | None = None,
    periodic: bool = False,
) -> StatedCharge:
    """Reads charge and multiplicity, whatever they are called.

    The charge is looked for under ``charge`` and its usual other names (``total_charge``,
    ``net_charge``, ``q``, ...), then in the sum of the atoms' charges; the multiplicity under
    ``spin`` and ``multiplicity``, as a number of unpaired electrons (``uhf``, ``magmom``), then in
    the sum of the atoms' magnetic moments. Arrays that hold nothing but zeros say nothing.

    Args:
        info: of the structure (`ase.Atoms.info`).
        arrays: one value for each atom (`ase.Atoms.arrays`).
        n_protons: sum of the atomic numbers.
        charge_key: the only key of `info` to read the charge from.
        spin_key: the only key of `info` to read the multiplicity from.
        periodic: the magnetic moment of a periodic cell is no whole number of electrons, so
            moments are passed over.

    Raises:
        GeometryError: a charge or multiplicity that is not a whole number, two that contradict
            each other, or one that can be understood in two ways.
    """
    charge_keys: set[str] = set()
    spin_keys: set[str] = set()
    charge = (
        _charge(info, arrays, charge_keys)
        if charge_key is None
        else _agreed([(k, _whole(info[k], k)) for k in {charge_key} & info.keys()], charge_keys)
    )
    if spin_key is None:
        spin = _spin(info, arrays, n_protons - (charge or 0), spin_keys, periodic)
    else:
        named = [(k, _whole(info[k], k, least=1)) for k in {spin_key} & info.keys()]
        spin = _agreed(named, spin_keys)
    return StatedCharge(charge=charge, spin=spin, keys=frozenset(charge_keys | spin_keys))


def charge_and_spin(
    info: Mapping[str, Any],
    arrays: Mapping[str, Any],
    n_protons: int,
    *,
    charge_key: str | None = None,
    spin_key: str | None = None,
    periodic: bool = False,
) -> tuple[int, int]:
    """Returns charge and multiplicity that a calculation may use; see `stated_charge`.

    What is not stated is neutral and, with an even number of electrons, a singlet.

    Raises:
        GeometryError: see `stated_charge`; or the electrons cannot have the multiplicity; or
            their number is odd and no multiplicity is stated, where a charge may be missing, too.
    """
    stated = stated_charge(
        info, arrays, n_protons, charge_key=charge_key, spin_key=spin_key, periodic=periodic
    )
    charge, spin = stated.charge or 0, stated.spin
    n_electrons = n_protons - charge
    if n_electrons < 0:
        raise GeometryError(f"charge {charge:+d} is more than the {n_protons} protons have")
    if spin is None and n_electrons % 2:
        what = "no charge and no multiplicity" if stated.charge is None else "no multiplicity"
        raise GeometryError(
            f"{n_electrons} electrons cannot be a singlet, and {what} is given; state them as "
            'info["charge"] and info["spin"] (2S + 1)'
        )
    spin = 1 if spin is None else spin
    if (n_electrons + spin) % 2 == 0 or spin - 1 > n_electrons:
        raise GeometryError(
            f"{n_electrons} electrons (charge {charge:+d}) cannot have multiplicity {spin}; "
            f"expected {'2, 4, ...' if n_electrons % 2 else '1, 3, ...'} up to {n_electrons + 1}"
        )
    return charge, spin


def replace_state(
    info: MutableMapping[str, Any],
    arrays: MutableMapping[str, Any],
    *,
    charge: int | None = None,
    spin: int | None = None,
) -> None:
    """States charge or multiplicity in place of all that a structure says of them.

    Args:
        info: as `ase.Atoms.info`, changed.
        arrays: as `ase.Atoms.arrays`, likewise; charges of atoms that add up to the charge stay.
        charge: total charge in e; None leaves what there is.
        spin: multiplicity 2S + 1, likewise.
    """
    if charge is not None:
        for key, values in list(_per_atom(arrays, CHARGE_ARRAYS)):
            if values.ndim > 1 or not abs(float(values.sum()) - charge) < _SUM:
                del arrays[key]
        _forget(info, _CHARGES | {"q"})
        info["charge"] = charge
    if spin is not None:
        _forget(info, _MULTIPLICITIES | _UNPAIRED | {"totalspin"})
        info["spin"] = spin


def _forget(info: MutableMapping[str, Any], names: set[str]) -> None:
    for key in [key for key, _ in _under(info, names)]:
        del info[key]


def impossible_spin(n_electrons: int, charge: int, spin: int) -> str:
    """Returns what to say of a multiplicity that the electrons cannot have, and what to do."""
    lowest = 1 + n_electrons % 2
    return (
        f"{n_electrons} electrons (charge {charge:+d}) cannot have multiplicity {spin}; state the "
        "charge of an ion (--charge, charge=, atoms.info['charge']) or another multiplicity 2S + 1 "
        f"(--spin {lowest}, spin={lowest}, atoms.info['spin'])"
    )


def fixed_settings(settings: Mapping[str, Any], charge: int, spin: int) -> dict[str, int]:
    """Returns what settings of a program for charge and multiplicity must be for a structure.

    Args:
        settings: keywords of a calculator; what is None or a text leaves it to the structure.
        charge: total charge of the structure, e.
        spin: its multiplicity.

    Returns:
        The keys that fix either of the two, with the values that they must have.
    """
    wanted = ((_CHARGES | _SETTINGS, charge), (_MULTIPLICITIES, spin), (_UNPAIRED, spin - 1))
    return {
        key: value
        for names, value in wanted
        for key, found in _under(settings, names)
        if _is_number(found)
    }


def _charge(info: Mapping[str, Any], arrays: Mapping[str, Any], used: set[str]) -> int | None:
    stated = [(key, _whole(value, key)) for key, value in _under(info, _CHARGES)]
    if not stated:  # q may be a vector, too
        stated = [(k, _whole(v, k)) for k, v in _under(info, {"q"}) if np.size(v) == 1]
    agreed = _agreed(stated, used)
    for key, values in _per_atom(arrays, CHARGE_ARRAYS):
        total = float(values.sum()) if values.ndim == 1 else math.nan
        near = abs(total - round(total)) < _SUM if math.isfinite(total) else False
        if agreed is None and not near:
            raise GeometryError(
                f"the array {key!r} adds up to {total:.3g} e, which is no total charge, and none "
                'is stated; state it as info["charge"]'
            )
        if near and agreed is not None and round(total) != agreed:
            names = ", ".join(repr(name) for name in sorted(used))
            raise GeometryError(
                f"{names} is {agreed:+d}, but the array {key!r} adds up to {round(total):+d} e; "
                "keep the one that is right"
            )
        if near:
            agreed = round(total)
            used.add(key)
    return agreed


def _spin(
    info: Mapping[str, Any],
    arrays: Mapping[str, Any],
    n_electrons: int,
    used: set[str],
    periodic: bool,
) -> int | None:
    stated = [(key, _whole(value, key, least=1)) for key, value in _under(info, _MULTIPLICITIES)]
    if not periodic:
        stated += [
            (key, abs(_whole(value, key)) + 1)
            for key, value in _under(info, _UNPAIRED)
            if np.size(value) == 1
        ]
    agreed = _agreed(stated, used)
    for key, value in _under(info, {"totalspin"}):
        if agreed is None:
            number = float(np.asarray(value, dtype=np.float64)) if _is_number(value) else math.nan
            if number != 0 or n_electrons % 2:  # both S and 2S of a singlet are 0
                raise GeometryError(
                    f"info[{key!r}] is {value!r}, which may be S, 2S or 2S + 1; state the "
                    'multiplicity 2S + 1 as info["spin"]'
                )
            agreed = 1
        used.add(key)
    if agreed is not None or periodic:  # moments are a first guess beside a stated multiplicity
        return agreed
    for key, values in _per_atom(arrays, MOMENT_ARRAYS):
        total = abs(float(values.sum())) if values.ndim == 1 else math.nan
        if not math.isfinite(total) or abs(total - round(total)) > _SUM:
            raise GeometryError(
                f"the array {key!r} adds up to {total:.3g} unpaired electrons, and no "
                'multiplicity is stated; state it as info["spin"] (2S + 1)'
            )
        used.add(key)
        return round(total) + 1
    return None


def _under(info: Mapping[str, Any], names: set[str]) -> Iterator[tuple[str, Any]]:
    """Yields what is held under names, however they are spelt."""
    for key, value in info.items():
        if "".join(c for c in str(key).lower() if c not in "_- .") in names:
            yield str(key), value


def named_state(key: str) -> Literal["charge", "spin"] | None:
    """Returns what a key of a dataset is the usual name of: a total charge, or a multiplicity."""
    if any(True for _ in _under({key: 0}, _CHARGES | {"q"})):
        return "charge"
    return "spin" if any(True for _ in _under({key: 0}, _MULTIPLICITIES)) else None


def _per_atom(arrays: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[tuple[str, Floats]]:
    """Yields the arrays that say anything: not all zero, not all NaN."""
    for key in names:
        if key not in arrays:
            continue
        try:
            values = np.asarray(arrays[key], dtype=np.float64)
        except (TypeError, ValueError):
            raise GeometryError(f"the array {key!r} does not hold numbers") from None
        if np.any(values) and not np.isnan(values).all():
            yield key, values


def _agreed(stated: list[tuple[str, int]], used: set[str]) -> int | None:
    """Returns the one number that all keys state, None where there are none."""
    for key, number in stated:
        if number != stated[0][1]:
            raise GeometryError(
                f"{stated[0][0]!r} and {key!r} contradict each other ({stated[0][1]} and "
                f"{number}, as charge or multiplicity); keep the one that is right"
            )
        used.add(key)
    return stated[0][1] if stated else None


def _is_number(value: object) -> bool:
    array = np.asarray(value)
    return array.size == 1 and array.dtype.kind in "iuf"


def _whole(value: object, key: str, least: int | None = None) -> int:
    array = np.asarray(value)
    number = math.nan
    if array.size == 1 and array.dtype.kind in "iufSU":
        try:
            number = float(array.reshape(-1)[0])
        except ValueError:
            number = math.nan
    if (
        not math.isfinite(number)
        or abs(number - round(number)) > _WHOLE
        or (least is not None and round(number) < least)
    ):
        kind = "a whole number"
        if least is not None:
            kind += f" of at least {least} (2S + 1; a number of unpaired electrons is called 'uhf')"
        shown = value.item() if isinstance(value, np.generic) else value
        raise GeometryError(f"info[{key!r}] is {shown!r}, expected {kind}")
    return round(number)
