"""Everything that computes energies of structures, by one grammar of names."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.engines.core_potential import only_heavy
    from tlpot.engines.dispersion import dispersion_model
    from tlpot.engines.engine import (
        BatchEngine,
        Describing,
        Deviating,
        Engine,
        LabelError,
        check_electrons,
        check_model_name,
        definition_differences,
        gives_stress,
    )
    from tlpot.engines.mmff import MMFF94, MMFF94Calculator
    from tlpot.engines.model import ModelEngine, ModelSettings, label_name
    from tlpot.engines.registry import (
        KINDS,
        EngineName,
        EngineSpec,
        forget_engines,
        make_engine,
        parse_engine,
    )
    from tlpot.engines.xtb import METHODS, xtb_calculator

__getattr__ = lazy_exports(__name__)
