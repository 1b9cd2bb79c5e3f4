"""Whole jobs made of the parts below."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.pipeline.automatic import Choice as Choice
    from tlpot.pipeline.automatic import choose_strategy as choose_strategy
    from tlpot.pipeline.automatic import settings_for as settings_for
    from tlpot.pipeline.curve import run_curve as run_curve
    from tlpot.pipeline.curve_config import CurveConfig as CurveConfig
    from tlpot.pipeline.curve_config import curve_config as curve_config
    from tlpot.pipeline.curve_record import Curve as Curve
    from tlpot.pipeline.curve_record import load_curve as load_curve
    from tlpot.pipeline.finetune import FinetuneConfig as FinetuneConfig
    from tlpot.pipeline.finetune import finetune as finetune
    from tlpot.pipeline.finetune import finetune_config as finetune_config
    from tlpot.pipeline.finetune import prepare_finetune as prepare_finetune
    from tlpot.pipeline.fitting import REPORT as REPORT
    from tlpot.pipeline.fitting import Outcome as Outcome
    from tlpot.pipeline.fitting import fit as fit
    from tlpot.pipeline.output import check_output as check_output
    from tlpot.pipeline.output import check_replaced as check_replaced
    from tlpot.pipeline.plan import Plan as Plan
    from tlpot.pipeline.plan import make_plan as make_plan
    from tlpot.pipeline.rank import rank_models as rank_models
    from tlpot.pipeline.ranking import Ranking as Ranking
    from tlpot.pipeline.report import ReportConfig as ReportConfig
    from tlpot.pipeline.report import make_report as make_report
    from tlpot.pipeline.shared_split import check_shared_split as check_shared_split
    from tlpot.pipeline.train import TrainConfig as TrainConfig
    from tlpot.pipeline.train import prepare_train as prepare_train
    from tlpot.pipeline.train import train_config as train_config
    from tlpot.pipeline.train import train_from_scratch as train_from_scratch
    from tlpot.pipeline.uncertainty import Calibrated as Calibrated
    from tlpot.pipeline.uncertainty import calibrate_model as calibrate_model
    from tlpot.pipeline.uncertainty import make_ensemble as make_ensemble

__getattr__ = lazy_exports(__name__)
