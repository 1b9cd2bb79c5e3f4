"""A force field from structures, levels of theory and budgets, in stages that stop and resume."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.pipeline.building.blueprint import Blueprint as Blueprint
    from tlpot.pipeline.building.blueprint import make_blueprint as make_blueprint
    from tlpot.pipeline.building.blueprint import up_to as up_to
    from tlpot.pipeline.building.config import BuildConfig as BuildConfig
    from tlpot.pipeline.building.config import build_config as build_config
    from tlpot.pipeline.building.plan import all_standings as all_standings
    from tlpot.pipeline.building.progress import stage_table as stage_table
    from tlpot.pipeline.building.runner import run_stages as run_stages

__getattr__ = lazy_exports(__name__)
