"""A force field from structures and levels of theory, stage by stage."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.building.config import BuildConfig, build_config
    from tlpot.building.job import BuildResult, build_plan, run_build
    from tlpot.building.plan import Blueprint, make_blueprint, up_to
    from tlpot.building.record import Record
    from tlpot.building.runner import run_stages
    from tlpot.building.stage_status import Standing, all_standings, duration, stage_table

__getattr__ = lazy_exports(__name__)
