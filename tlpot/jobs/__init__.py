"""Training, fine-tuning and what goes with them, as whole jobs."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.jobs.calculator import EnergyMethod, Structure, check_result_files, warn_of_contacts
    from tlpot.jobs.data_sources import DataSettings, SplitSettings, check_elements, source_hashes
    from tlpot.jobs.datasets import (
        ConvertedData,
        DataCheck,
        DataFiles,
        DataSplit,
        check_data,
        convert,
        divide,
    )
    from tlpot.jobs.demo import DATA, HELD_OUT, LEVEL, MD_KELVIN, PARENT, SOURCE, run_demo
    from tlpot.jobs.engine_features import (
        ENGINE_FEATURES,
        check_engine_strategy,
        engine_hash,
        parent_engine,
        parent_hash,
        with_engine,
    )
    from tlpot.jobs.engine_values import LOW_LABELS, low_identity
    from tlpot.jobs.evaluate import Evaluation, ModelSource, evaluate_model, fragment_method
    from tlpot.jobs.finetune import finetune, fit_closed_form, prepare_finetune, trial_errors
    from tlpot.jobs.finetune_config import (
        AUTO,
        FinetuneConfig,
        finetune_config,
        finetune_job,
        is_automatic,
    )
    from tlpot.jobs.fitting import REPORT, Launch, fit
    from tlpot.jobs.fragments import Cut, Listing, SinglePoints, used_coefficients, write_fragments
    from tlpot.jobs.frequencies import FrequencySettings, frequencies_of
    from tlpot.jobs.given_settings import ConfigSource, choose_only_level, settings_with_data
    from tlpot.jobs.md import MDStart, MolecularDynamics, n_steps
    from tlpot.jobs.predict import Reading, StructureSource, predict_structures
    from tlpot.jobs.references import ReferenceMethod
    from tlpot.jobs.relax import relax_structure
    from tlpot.jobs.report import ReportConfig, make_report, report_job
    from tlpot.jobs.strategy_choice import Choice, choose_strategy
    from tlpot.jobs.structure_predictions import StructurePredictions
    from tlpot.jobs.train import (
        TrainConfig,
        prepare_train,
        train_config,
        train_from_scratch,
        train_job,
    )
    from tlpot.jobs.training_job import (
        Job,
        PreparedTraining,
        TrainingInterrupted,
        TrainingOutcome,
        alone_in_folder,
        as_part,
        check_output,
    )
    from tlpot.jobs.uncertainty import (
        Calibrated,
        CalibrationSettings,
        EnsembleOutcome,
        calibrate_file,
        calibrate_model,
        join_models,
        make_ensemble,
    )

__getattr__ = lazy_exports(__name__)
