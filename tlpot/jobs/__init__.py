"""Training, fine-tuning and what goes with them, as whole jobs."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.jobs.calculator import check_result_file, open_calculator
    from tlpot.jobs.calibrate import (
        CalibrationSettings,
        EnsembleOutcome,
        calibrate_file,
        join_models,
    )
    from tlpot.jobs.data_sources import (
        ConfigSource,
        DataSettings,
        SplitPart,
        SplitSettings,
        as_trained,
        check_shared_split,
        choose_only_level,
        settings_with_data,
        source_hashes,
    )
    from tlpot.jobs.datasets import (
        ConvertedData,
        DataCheck,
        DataFiles,
        DataSplit,
        check_data,
        convert,
        divide,
    )
    from tlpot.jobs.demo import DATA, HELD_OUT, LEVEL, MD_KELVIN, PARENT, run_demo
    from tlpot.jobs.evaluate import (
        Evaluation,
        ModelSource,
        evaluate_model,
        fragment_method,
        open_labels,
    )
    from tlpot.jobs.finetune import finetune, prepare_finetune, trial_errors
    from tlpot.jobs.finetune_config import (
        AUTO,
        FinetuneConfig,
        finetune_config,
        finetune_job,
        is_automatic,
    )
    from tlpot.jobs.fitting import REPORT, fit
    from tlpot.jobs.fragment_cut import Cut, used_coefficients
    from tlpot.jobs.fragment_energies import SinglePoints
    from tlpot.jobs.fragment_listing import Listing, write_fragments
    from tlpot.jobs.frequencies import frequencies
    from tlpot.jobs.launch import Launch
    from tlpot.jobs.low_values import LOW_LABELS, low_identity
    from tlpot.jobs.malloc import keep_freed_memory, load_torch
    from tlpot.jobs.md import MDStart, MolecularDynamics, n_steps
    from tlpot.jobs.output import alone_in_folder, check_output, check_replaced
    from tlpot.jobs.predict import StructurePredictions, StructureSource, predict_structures
    from tlpot.jobs.references import ReferenceMethod
    from tlpot.jobs.relax import relax
    from tlpot.jobs.report import ReportConfig, make_report, report_job
    from tlpot.jobs.strategy_choice import Choice, choose_strategy
    from tlpot.jobs.train import (
        TrainConfig,
        prepare_train,
        train_config,
        train_from_scratch,
        train_job,
    )
    from tlpot.jobs.training_job import Job, PreparedTraining, TrainingOutcome
    from tlpot.jobs.transfer_examination import examine
    from tlpot.jobs.uncertainty import Calibrated, calibrate_model, make_ensemble
    from tlpot.jobs.workers import label_workers, workers

__getattr__ = lazy_exports(__name__)
