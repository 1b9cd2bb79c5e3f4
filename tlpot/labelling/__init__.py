"""Labelling geometries at a level of theory, over any executor."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.labelling.cost import LevelCost as LevelCost
    from tlpot.labelling.cost import cost_ratio as cost_ratio
    from tlpot.labelling.cost import label_costs as label_costs
    from tlpot.labelling.engine import Engine as Engine
    from tlpot.labelling.engine import EngineSpec as EngineSpec
    from tlpot.labelling.engine import LabelError as LabelError
    from tlpot.labelling.labels import LabelReport as LabelReport
    from tlpot.labelling.labels import label as label
    from tlpot.labelling.pool import WorkerPool as WorkerPool
    from tlpot.labelling.registry import ENGINES as ENGINES
    from tlpot.labelling.registry import make_engine as make_engine
    from tlpot.labelling.task import LabelTask as LabelTask
    from tlpot.labelling.task import Outcome as Outcome
    from tlpot.labelling.task import run_task as run_task

__getattr__ = lazy_exports(__name__)
