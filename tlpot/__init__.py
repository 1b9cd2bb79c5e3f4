"""Transfer-learned equivariant interatomic potentials behind an ASE calculator.

The names below are imported when first used, so that ``import tlpot`` and the command line
start quickly and load no optional package.
"""

from typing import TYPE_CHECKING

from tlpot._version import __version__
from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.api import (
        active_learning,
        build,
        calibrate,
        convert_dataset,
        ensemble,
        evaluate,
        finetune,
        force_field_report,
        fragment,
        frequencies,
        import_model,
        label,
        learning_curve,
        load,
        md,
        plan,
        predict,
        rank,
        relax,
        report,
        sample,
        select_dataset,
        split_dataset,
        train,
        validate_dataset,
    )
    from tlpot.calculators import DeltaCalculator, FragmentCalculator, TLPotCalculator
    from tlpot.data import open_dataset
    from tlpot.models import Potential

__all__ = [
    "DeltaCalculator",
    "FragmentCalculator",
    "Potential",
    "TLPotCalculator",
    "__version__",
    "active_learning",
    "build",
    "calibrate",
    "convert_dataset",
    "ensemble",
    "evaluate",
    "finetune",
    "force_field_report",
    "fragment",
    "frequencies",
    "import_model",
    "label",
    "learning_curve",
    "load",
    "md",
    "open_dataset",
    "plan",
    "predict",
    "rank",
    "relax",
    "report",
    "sample",
    "select_dataset",
    "split_dataset",
    "train",
    "validate_dataset",
]

__getattr__ = lazy_exports(__name__)


def __dir__() -> list[str]:
    return sorted(__all__)
