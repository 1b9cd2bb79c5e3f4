"""Calculators of the Atomic Simulation Environment."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.calculators.delta import DeltaCalculator, check_definition, learned_on_model
    from tlpot.calculators.engine import (
        CalculatorFactory,
        EngineCalculator,
        LevelCalculator,
        Source,
        energy_model,
        named_calculator,
        named_source,
    )
    from tlpot.calculators.fragment import FragmentCalculator, FragmentMethod
    from tlpot.calculators.opened_model import value_in_info
    from tlpot.calculators.tlpot import TLPotCalculator

__getattr__ = lazy_exports(__name__)
