"""How far a prediction can be trusted: spreads, calibration, domain of the training data."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.uncertainty.conformal import (
        MIN_FRAMES,
        CalibrationReport,
        calibrate,
        judge,
        spearman,
    )
    from tlpot.uncertainty.domain import fit_domain
    from tlpot.uncertainty.domain_warning import DomainCheck, DomainWarning
    from tlpot.uncertainty.last_layer import fit_rigidity
    from tlpot.uncertainty.pictures import calibration_figure
    from tlpot.uncertainty.spreads import Deviations, deviations

__getattr__ = lazy_exports(__name__)
