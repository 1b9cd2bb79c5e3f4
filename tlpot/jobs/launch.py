"""From a configuration to a trained model: one process or several, told of on the way."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from tlpot.errors import refuse_warnings
from tlpot.evaluation import ErrorReport
from tlpot.jobs.fitting import fit
from tlpot.jobs.output import check_replaced
from tlpot.jobs.training_job import PreparedTraining, TrainingOutcome
from tlpot.presentation import Progress, telling, warnings_of
from tlpot.torch_mode import torch_threads
from tlpot.training import TrainingResult, joined_processes

_LOG = logging.getLogger("tlpot")


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """How a training is started, whatever it trains.

    Attributes:
        resume: continue an interrupted run of the same settings.
        overwrite: replace the model that is there, and discard the checkpoint of a run.
        dry_run: stop after the pre-flight report.
        strict: take a warning of the pre-flight report for an error.
        device: None is CUDA if there is one, else the CPU.
        threads: of the CPU.
        progress: who is told of it.
    """

    resume: bool = False
    overwrite: bool = False
    dry_run: bool = False
    strict: bool = False
    device: str | torch.device | None = None
    threads: int = 1
    progress: Progress = None

    def run(
        self,
        prepare: Callable[[str | torch.device | None], PreparedTraining],
        *,
        output: Path | None = None,
    ) -> TrainingOutcome:
        """Prepares a job and does it; settings and pre-flight report go to the log ``tlpot``.

        Args:
            prepare: gives the job for a device.
            output: the model file, where the preparation takes long enough to look at once
                whether it may be replaced.

        Raises:
            StrictError: `strict`, and the report has a warning.
            TLPotError: see `prepare` and `tlpot.jobs.fit`.
        """
        with ExitStack() as stack:
            stack.enter_context(torch_threads(self.threads))
            stack.enter_context(telling(self.progress))
            if output is not None and not self.dry_run:
                check_replaced(output, overwrite=self.overwrite or self.resume)
            processes = stack.enter_context(joined_processes())
            device = self.device
            if device is None and torch.cuda.is_available():
                device = f"cuda:{processes.local_rank}"
            prepared = prepare(device)
            job = prepared.job
            recipe = yaml.safe_dump(dict(job.recipe), sort_keys=False, allow_unicode=True)
            choice = [f"{prepared.choice}\n"] if prepared.choice else []
            preflight = "\n".join([*choice, recipe, prepared.report])
            if processes.is_first:
                _LOG.info("%s", preflight)
            if self.strict:
                refuse_warnings(warnings_of(prepared.report))
            if self.dry_run:
                return _not_started(prepared, preflight)
            return fit(
                job,
                processes,
                resume=self.resume,
                overwrite=self.overwrite,
                show=processes.is_first,
                preflight=preflight,
            )


def _not_started(prepared: PreparedTraining, preflight: str) -> TrainingOutcome:
    job, nothing = prepared.job, ErrorReport(overall={})
    return TrainingOutcome(
        potential=job.potential,
        level=job.saved_level or job.levels[0],
        training=TrainingResult(
            best_epoch=0, best_loss=math.nan, best_score=math.nan, history=[], seconds=0.0,
            interrupted=False,
        ),
        start=nothing,
        end=nothing,
        part="test" if len(job.split.test) else "validation",
        output=job.output,
        preflight=preflight,
        started=False,
    )  # fmt: skip
