"""Calculators that are told the charge and multiplicity of each structure that they compute."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from ase import Atoms

from tlpot.errors import ConfigError
from tlpot.total_charge import fixed_settings


@contextmanager
def told_charge(calculator: Any, atoms: Atoms, charge: int, spin: int) -> Iterator[None]:
    """Tells a calculator charge and multiplicity for the time of one calculation.

    ASE has no one way to say them. The structure says them in ``info`` and as sums of initial
    charges and magnetic moments. A calculator with settings of its own takes those instead: they
    are set, and set back at the end.

    Args:
        calculator: an ASE calculator.
        atoms: what it is to compute; gets the charge and the moments.
        charge: total charge, e.
        spin: multiplicity.

    Raises:
        ConfigError: the calculator has a charge or multiplicity that is another one and that
            cannot be set.
    """
    mark_charge(atoms, charge, spin)
    attributes = _attributes(calculator)
    for key, value in fixed_settings(attributes, charge, spin).items():
        if attributes[key] != value:
            raise _refusal(calculator, key, attributes[key], value)
    parameters = _parameters(calculator)
    fixed = fixed_settings(parameters, charge, spin)
    before = {key: parameters[key] for key in fixed if parameters[key] != fixed[key]}
    if not before:
        yield
        return
    for key in before:
        try:
            calculator.set(**{key: fixed[key]})
        except Exception as error:  # programs raise whatever they like
            raise _refusal(calculator, key, before[key], fixed[key]) from error
        if calculator.parameters.get(key) != fixed[key]:
            raise _refusal(calculator, key, before[key], fixed[key])
    try:
        yield
    finally:
        calculator.set(**before)


def contradiction(calculator: Any, charge: int, spin: int) -> str | None:
    """Returns the setting, as ``charge=1``, with which a calculator has other electrons.

    Args:
        calculator: an ASE calculator.
        charge: total charge of the structure, e.
        spin: its multiplicity.
    """
    settings = {**_attributes(calculator), **_parameters(calculator)}
    for key, value in fixed_settings(settings, charge, spin).items():
        if settings[key] != value:
            return f"{key}={settings[key]!r}"
    return None


def mark_charge(atoms: Atoms, charge: int, spin: int) -> None:
    """Writes charge and multiplicity wherever calculators look for them in a structure.

    Initial charges and moments of the atoms stay as they are where their sums are right.

    Args:
        atoms: changed in place.
        charge: total charge, e.
        spin: multiplicity.
    """
    atoms.info.update(charge=charge, spin=spin)
    share = np.zeros(len(atoms))
    share[0] = 1.0
    if round(float(atoms.get_initial_charges().sum()), 6) != charge:
        atoms.set_initial_charges(charge * share)
    moments = atoms.get_initial_magnetic_moments()
    if moments.ndim > 1 or round(abs(float(moments.sum())), 6) != spin - 1:
        atoms.set_initial_magnetic_moments((spin - 1) * share)


def _parameters(calculator: Any) -> dict[str, Any]:
    found = getattr(calculator, "parameters", None)
    return found if isinstance(found, dict) else {}


def _attributes(calculator: Any) -> dict[str, Any]:
    """Public numbers of an object, where some calculators keep their settings."""
    return {
        name: value
        for name, value in getattr(calculator, "__dict__", {}).items()
        if isinstance(value, numbers.Real) and not name.startswith("_")
    }


def _refusal(calculator: Any, key: str, found: object, wanted: int) -> ConfigError:
    name = type(calculator).__name__
    return ConfigError(
        f"the calculator {name} was made with {key}={found!r}, but a structure that it is to "
        f"compute has {wanted}; give a function of ase.Atoms that makes one for each structure "
        f"from atoms.info['charge'] and atoms.info['spin'], such as lambda atoms: {name}(...)"
    )
