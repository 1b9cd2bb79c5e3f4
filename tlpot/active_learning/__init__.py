"""Rounds of choosing candidates, labelling them and fitting a model anew."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.active_learning.acquisition import DesignTarget, Goal
    from tlpot.active_learning.campaign import Campaign, next_round, run_campaign
    from tlpot.active_learning.config import ActiveConfig, active_job
    from tlpot.active_learning.simulation import SimulatedCampaign, simulate

__getattr__ = lazy_exports(__name__)
