"""Labelling geometries at a level of theory, over any executor."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.labelling.label_file import LevelCost, cost_ratio, label_costs
    from tlpot.labelling.labels import LabelReport, LabelSettings, kept_labels, label
    from tlpot.labelling.structures import (
        Source,
        Structures,
        is_native,
        read_structures,
        stored_texts,
    )
    from tlpot.labelling.task import LabelOutcome, LabelTask, engine_key, geometry_key, run_labels

__getattr__ = lazy_exports(__name__)
