"""The transfer report and the probes that it is made of."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.pipeline.probes.calibration import Calibration as Calibration
    from tlpot.pipeline.probes.calibration import calibrate as calibrate
    from tlpot.pipeline.probes.dimers import DimerScan as DimerScan
    from tlpot.pipeline.probes.dimers import scan_dimers as scan_dimers
    from tlpot.pipeline.probes.drift import ForceDrift as ForceDrift
    from tlpot.pipeline.probes.drift import force_drift as force_drift
    from tlpot.pipeline.probes.examination import examine as examine
    from tlpot.pipeline.probes.forgetting import Forgetting as Forgetting
    from tlpot.pipeline.probes.forgetting import forgetting as forgetting
    from tlpot.pipeline.probes.report import TransferReport as TransferReport
    from tlpot.pipeline.probes.settings import ReportSettings as ReportSettings
    from tlpot.pipeline.probes.stability import Stability as Stability
    from tlpot.pipeline.probes.stability import probe_stability as probe_stability
    from tlpot.pipeline.probes.subject import Subject as Subject

__getattr__ = lazy_exports(__name__)
