"""Announces `TLPotCalculator` to ASE's experimental plug-in system, where ASE has one.

ASE imports this module to list what is installed, so it must be cheap and must never fail.
"""

from __future__ import annotations

from typing import Any

__ase_plugins__: set[Any] = set()

try:
    from ase._4.plugins.plugin import CalculatorPlugin

    __ase_plugins__ = {
        CalculatorPlugin(
            name="tlpot",
            citation="see the citation field of the model card: tlpot info MODEL",
            implementation="tlpot.calculators.TLPotCalculator",
        )
    }
except (ImportError, TypeError):  # the interface is not final: an ASE without it is as good
    pass
