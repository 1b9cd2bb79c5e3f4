"""The training loop and its parts; none of them knows about transfer."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.training.calibration import CalibrationReport as CalibrationReport
    from tlpot.training.calibration import calibrate as calibrate
    from tlpot.training.calibration import judge as judge
    from tlpot.training.calibration_picture import plot_calibration as plot_calibration
    from tlpot.training.checkpoint import CHECKPOINT as CHECKPOINT
    from tlpot.training.comparison import offset_words as offset_words
    from tlpot.training.comparison import refit_words as refit_words
    from tlpot.training.comparison import worse_words as worse_words
    from tlpot.training.domain import fit_domain as fit_domain
    from tlpot.training.loop import TrainingResult as TrainingResult
    from tlpot.training.loop import train as train
    from tlpot.training.parity import plot_parity as plot_parity
    from tlpot.training.picture import letter_panels as letter_panels
    from tlpot.training.picture import picture_path as picture_path
    from tlpot.training.picture import save_picture as save_picture
    from tlpot.training.plan import TrainingPlan as TrainingPlan
    from tlpot.training.prediction import Predictions as Predictions
    from tlpot.training.prediction import predict as predict
    from tlpot.training.processes import Processes as Processes
    from tlpot.training.processes import joined_processes as joined_processes
    from tlpot.training.reference import ReferenceFit as ReferenceFit
    from tlpot.training.reference import fit_references as fit_references
    from tlpot.training.report import ErrorReport as ErrorReport
    from tlpot.training.report import error_report as error_report
    from tlpot.training.rigidity import fit_rigidity as fit_rigidity
    from tlpot.training.selection import Selection as Selection
    from tlpot.training.selection import make_selection as make_selection
    from tlpot.training.settings import LossSettings as LossSettings
    from tlpot.training.settings import TrainingSettings as TrainingSettings
    from tlpot.training.uncertain import Deviations as Deviations
    from tlpot.training.uncertain import deviations as deviations

__getattr__ = lazy_exports(__name__)
