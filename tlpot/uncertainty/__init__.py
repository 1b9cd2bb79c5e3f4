"""How far a prediction can be trusted: spreads, calibration, domain of the training data."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.uncertainty.conformal import (
        MIN_FRAMES,
        CalibrationReport,
        Deviations,
        calibrate,
        calibration_figure,
        deviations,
        judge,
        spearman,
    )
    from tlpot.uncertainty.domain import DomainCheck, DomainWarning, fit_domain
    from tlpot.uncertainty.last_layer import fit_rigidity

__getattr__ = lazy_exports(__name__)
