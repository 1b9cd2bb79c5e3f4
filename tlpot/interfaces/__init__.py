"""Other programs that run simulations with the potentials of tlpot."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.interfaces.openmm import OpenMMPotential
    from tlpot.interfaces.openmm_function import PotentialFunction, Region

__getattr__ = lazy_exports(__name__)
