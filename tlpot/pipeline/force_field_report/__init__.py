"""The report on a force field: one HTML page with pictures, and all numbers as JSON."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.pipeline.force_field_report.cost import CostRow as CostRow
    from tlpot.pipeline.force_field_report.cost import labelling_cost as labelling_cost
    from tlpot.pipeline.force_field_report.data_used import DataRow as DataRow
    from tlpot.pipeline.force_field_report.data_used import data_used as data_used
    from tlpot.pipeline.force_field_report.error_text import error_text as error_text
    from tlpot.pipeline.force_field_report.examination import (
        examine_force_field as examine_force_field,
    )
    from tlpot.pipeline.force_field_report.kind_errors import KindErrors as KindErrors
    from tlpot.pipeline.force_field_report.kind_errors import Stage as Stage
    from tlpot.pipeline.force_field_report.kind_errors import measure_stage as measure_stage
    from tlpot.pipeline.force_field_report.motion import Motion as Motion
    from tlpot.pipeline.force_field_report.motion import simulate as simulate
    from tlpot.pipeline.force_field_report.provenance import Provenance as Provenance
    from tlpot.pipeline.force_field_report.provenance import model_chain as model_chain
    from tlpot.pipeline.force_field_report.ramachandran import Ramachandran as Ramachandran
    from tlpot.pipeline.force_field_report.ramachandran import compare_angles as compare_angles
    from tlpot.pipeline.force_field_report.report import ForceFieldReport as ForceFieldReport
    from tlpot.pipeline.force_field_report.report import ReportFiles as ReportFiles
    from tlpot.pipeline.force_field_report.report import write_report as write_report
    from tlpot.pipeline.force_field_report.settings import Assembly as Assembly
    from tlpot.pipeline.force_field_report.settings import (
        ExaminationSettings as ExaminationSettings,
    )

__getattr__ = lazy_exports(__name__)
