"""Transfer-learned equivariant interatomic potentials behind an ASE calculator.

The names below are imported when first used, so that ``import tlpot`` and the command line
start quickly and load no optional package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tlpot._version import __version__

if TYPE_CHECKING:
    from tlpot.calculators import DeltaCalculator, FragmentCalculator, TLPotCalculator
    from tlpot.data import open_dataset
    from tlpot.models import Potential, load

_PUBLIC = {
    "DeltaCalculator": "tlpot.calculators",
    "FragmentCalculator": "tlpot.calculators",
    "Potential": "tlpot.models",
    "TLPotCalculator": "tlpot.calculators",
    "load": "tlpot.models",
    "open_dataset": "tlpot.data",
}

__all__ = [
    "DeltaCalculator",
    "FragmentCalculator",
    "Potential",
    "TLPotCalculator",
    "__version__",
    "load",
    "open_dataset",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'tlpot' has no attribute {name!r}")
