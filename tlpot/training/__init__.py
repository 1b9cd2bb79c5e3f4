"""The training loop and its parts; none of them knows about transfer."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.training.composition import (
        CompositionFit,
        ReferenceFit,
        fit_composition,
        fit_odds,
        fit_references,
    )
    from tlpot.training.loop import TrainingResult, train
    from tlpot.training.optimizer import TrainingPlan
    from tlpot.training.processes import Interrupt, Processes, joined_processes
    from tlpot.training.run_files import CHECKPOINT
    from tlpot.training.selection import Selection, make_selection, short_errors
    from tlpot.training.settings import LossSettings, TrainingSettings

__getattr__ = lazy_exports(__name__)
