"""Dispersion of the whole structure: analytic, cheap, and free of any fragmentation error."""

from __future__ import annotations

import importlib
import importlib.util

from ase import Atoms

from tlpot.errors import ConfigError, MissingExtraError, nearest
from tlpot.models import CalculatorModel

_KINDS = {"d3bj": ("dftd3", "DFTD3"), "d3zero": ("dftd3", "DFTD3"), "d4": ("dftd4", "DFTD4")}


def dispersion_model(name: str) -> CalculatorModel:
    """Returns a dispersion correction as an energy model.

    D3(BJ) after Grimme et al., doi:10.1002/jcc.21759, D4 after Caldeweyher et al.,
    doi:10.1063/1.5090222, by the packages dftd3 and dftd4.

    Args:
        name: ``KIND:FUNCTIONAL``, such as ``d3bj:b3lyp`` or ``d4:wb97x``.

    Raises:
        ConfigError: no such kind, or a functional without parameters.
        MissingExtraError: the package is not installed.
    """
    kind, _, functional = name.lower().partition(":")
    if kind not in _KINDS or not functional:
        raise ConfigError(
            f"dispersion is {name!r}, expected KIND:FUNCTIONAL such as d3bj:b3lyp"
            f"{nearest(kind, _KINDS)}"
        )
    package, calculator = _KINDS[kind]
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(package, "dispersion", f"dispersion={name!r}")
    module = importlib.import_module(f"{package}.ase")
    settings = {"method": functional}
    if kind != "d4":
        settings["damping"] = kind
    try:
        made = getattr(module, calculator)(**settings)
        Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], calculator=made).get_potential_energy()
    except Exception as error:
        raise ConfigError(
            f"{package} has no parameters for {functional!r} ({error}); see its list of functionals"
        ) from error
    return CalculatorModel(made)
