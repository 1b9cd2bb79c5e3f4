"""A force field from structures and levels of theory, stage by stage."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.building.config import BuildConfig, build_config
    from tlpot.building.plan import BuildPlan, make_build_plan, up_to
    from tlpot.building.runner import (
        BuildResult,
        StageStatus,
        build_plan,
        duration,
        run_build,
        run_stages,
        stage_statuses,
        stage_table,
    )
    from tlpot.building.stage import Record

__getattr__ = lazy_exports(__name__)
