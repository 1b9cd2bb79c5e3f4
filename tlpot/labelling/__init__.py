"""Labelling geometries at a level of theory, over any executor."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.labelling.cost import LevelCost, cost_ratio, label_costs
    from tlpot.labelling.executor import WorkerPool
    from tlpot.labelling.labels import LabelReport, label
    from tlpot.labelling.structures import read_structures
    from tlpot.labelling.task import LabelTask, Outcome, run_task

__getattr__ = lazy_exports(__name__)
