"""Errors against numbers of labels, their laws, and what to buy."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.learning_curves.budget import Prices
    from tlpot.learning_curves.config import CurveConfig, ParentSource, curve_config, curve_job
    from tlpot.learning_curves.curve import run_curve
    from tlpot.learning_curves.ensembles import curve_ensembles
    from tlpot.learning_curves.job import LearningCurve, Wanted, measure_curve, plan_purchase
    from tlpot.learning_curves.plan import Plan, make_plan
    from tlpot.learning_curves.power_law import Law, Measured, fit_law
    from tlpot.learning_curves.record import Curve, load_curve
    from tlpot.learning_curves.report import CurveReport, analyse, curve_figure, save_reports
    from tlpot.learning_curves.tasks import POINTS, curve_tasks

__getattr__ = lazy_exports(__name__)
