"""Reports on force fields: error budgets, pictures, pages."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.reports.error_budget import Budget, measure_budget
    from tlpot.reports.error_budget_report import BudgetReport
    from tlpot.reports.error_text import error_text
    from tlpot.reports.force_field_examination import examine_force_field
    from tlpot.reports.force_field_report import Assembly, ExaminationSettings, ForceFieldReport
    from tlpot.reports.kind_errors import KindErrors, StageErrors, measure_stage
    from tlpot.reports.page import NUMBERS, PAGE, ReportFiles, write_report
    from tlpot.reports.partition_picture import plot_partition
    from tlpot.reports.provenance import (
        CostRow,
        DataRow,
        Provenance,
        data_record,
        data_used,
        labelling_cost,
        model_chain,
        versions,
    )
    from tlpot.reports.ramachandran import Ramachandran, compare_angles, complete

__getattr__ = lazy_exports(__name__)
