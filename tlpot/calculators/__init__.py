"""Calculators of the Atomic Simulation Environment."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.calculators.delta import DeltaCalculator
    from tlpot.calculators.engine import EngineCalculator, named_source
    from tlpot.calculators.fragment import FragmentCalculator, energy_model
    from tlpot.calculators.fragment_method import FragmentMethod
    from tlpot.calculators.identity import identity, plain
    from tlpot.calculators.tlpot import TLPotCalculator

__getattr__ = lazy_exports(__name__)
