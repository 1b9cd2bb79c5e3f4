"""A model over structures: predictions, tables of errors, and what a transfer did."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.evaluation.drift import ForceDrift, Forgetting, force_drift, forgetting
    from tlpot.evaluation.error_tables import (
        LEARNED,
        ErrorReport,
        Metrics,
        error_report,
        offset_words,
        parity_figure,
        refit_words,
        relative_errors,
        worse_words,
    )
    from tlpot.evaluation.offsets import SystematicErrors, systematic_errors
    from tlpot.evaluation.predictions import (
        Predictions,
        evaluate_systems,
        evaluated,
        predict,
        system_batches,
        system_features,
    )
    from tlpot.evaluation.property_errors import (
        COVERAGES,
        EVEN,
        Baseline,
        IntervalCoverage,
        baseline_table,
        baseline_words,
        line_baseline,
        property_errors,
    )
    from tlpot.evaluation.property_report import PropertyReport, largest_errors
    from tlpot.evaluation.stability import LARGEST, Stability, choose_frame, probe_stability
    from tlpot.evaluation.transfer_report import (
        PARTS,
        EvaluatedModel,
        Part,
        ReportSettings,
        TransferReport,
    )
    from tlpot.evaluation.walls import DimerScan, scan_dimers

__getattr__ = lazy_exports(__name__)
