"""Strategies: which weights start where, which of them move, and on what data."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.transfer.adaptation import Adaptation, aligned, density_ratio
    from tlpot.transfer.delta import Delta
    from tlpot.transfer.domains import both_penalties, check_adaptable, training_adaptation
    from tlpot.transfer.pseudo_labels import pseudo_labels
    from tlpot.transfer.registry import STRATEGY_NAMES, strategy, strategy_settings
    from tlpot.transfer.residuals import Frozen, missing_energies, zero_readout
    from tlpot.transfer.ridge import Moments, assign_folds, fit_ridge
    from tlpot.transfer.strategy import Strategy, StrategyDefaults, TrainingData, TransferContext
    from tlpot.transfer.summed_features import PooledFeatures, pooled_features

__getattr__ = lazy_exports(__name__)
