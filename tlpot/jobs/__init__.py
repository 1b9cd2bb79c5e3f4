"""Training, fine-tuning and what goes with them, as whole jobs."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.jobs.automatic import Choice, choose_strategy, settings_for
    from tlpot.jobs.calculator import check_result_file, open_calculator
    from tlpot.jobs.data_sources import (
        DataSettings,
        SplitSettings,
        as_trained,
        check_shared_split,
        source_hashes,
    )
    from tlpot.jobs.demo import DATA, HELD_OUT, LEVEL, MD_KELVIN, PARENT, run_demo
    from tlpot.jobs.finetune import FinetuneConfig, finetune, finetune_config, prepare_finetune
    from tlpot.jobs.fitting import REPORT, Job, Outcome, fit
    from tlpot.jobs.fragment_cut import Cut, used_coefficients
    from tlpot.jobs.fragment_energies import SinglePoints
    from tlpot.jobs.fragment_listing import Listing, write_fragments
    from tlpot.jobs.frequencies import frequencies
    from tlpot.jobs.md import MDStart, MolecularDynamics, n_steps
    from tlpot.jobs.output import alone_in_folder, check_output, check_replaced
    from tlpot.jobs.references import ReferenceMethod
    from tlpot.jobs.relax import relax
    from tlpot.jobs.report import ReportConfig, make_report
    from tlpot.jobs.train import TrainConfig, prepare_train, train_config, train_from_scratch
    from tlpot.jobs.transfer_examination import examine
    from tlpot.jobs.uncertainty import Calibrated, calibrate_model, make_ensemble
    from tlpot.jobs.workers import label_workers, workers

__getattr__ = lazy_exports(__name__)
