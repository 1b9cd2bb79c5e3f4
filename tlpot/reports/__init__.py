"""Reports on force fields: error budgets, pictures, pages."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.reports.error_budget import Budget, measure_budget
    from tlpot.reports.error_budget_report import BudgetReport
    from tlpot.reports.force_field_examination import (
        Evidence,
        ForceFieldModels,
        examine_force_field,
        models_by_kind,
        named_structures,
    )
    from tlpot.reports.force_field_report import ExaminationSettings, ForceFieldReport
    from tlpot.reports.fragmentation import (
        Fragmentation,
        FragmentedFrames,
        StructureFrames,
        check_export,
        fragment_budget,
        fragment_structure,
    )
    from tlpot.reports.kind_errors import (
        KindErrors,
        LabelledFragments,
        StageErrors,
        error_text,
        measure_stage,
    )
    from tlpot.reports.page import NUMBERS, PAGE, ReportFiles, write_report
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
