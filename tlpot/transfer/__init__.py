"""Strategies: which weights start where, which of them move, and on what data."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.transfer.law import Law as Law
    from tlpot.transfer.law import Measured as Measured
    from tlpot.transfer.law import fit_law as fit_law
    from tlpot.transfer.leftover import missing_energies as missing_energies
    from tlpot.transfer.leftover import silence as silence
    from tlpot.transfer.pooled import PooledFeatures as PooledFeatures
    from tlpot.transfer.pooled import pooled_features as pooled_features
    from tlpot.transfer.recipe import Recipe as Recipe
    from tlpot.transfer.registry import STRATEGY_NAMES as STRATEGY_NAMES
    from tlpot.transfer.registry import strategy as strategy
    from tlpot.transfer.registry import strategy_settings as strategy_settings
    from tlpot.transfer.ridge import Moments as Moments
    from tlpot.transfer.ridge import assign_folds as assign_folds
    from tlpot.transfer.ridge import fit_ridge as fit_ridge
    from tlpot.transfer.situation import Lessons as Lessons
    from tlpot.transfer.situation import Situation as Situation
    from tlpot.transfer.strategy import Strategy as Strategy

__getattr__ = lazy_exports(__name__)
